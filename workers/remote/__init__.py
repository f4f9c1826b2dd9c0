"""The engine that another server runs, called by OpenAI's API of images. It knows neither database nor torch."""
