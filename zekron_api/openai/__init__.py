"""The part of OpenAI's API that makes images, for clients that were written for it."""
