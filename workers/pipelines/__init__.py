"""The engines that make pictures with torch and diffusers. They know no database, no price and no stored image."""
