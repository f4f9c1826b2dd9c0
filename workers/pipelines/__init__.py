"""The engines that make pictures with torch and diffusers. They know no job, no price and no stored file."""
