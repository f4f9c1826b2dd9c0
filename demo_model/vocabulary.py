"""Words and phrases for the attributes of a scene: several for each value."""

from typing import Final

# A phrase stands after the thing (`at night`), before it (`moonlit`), or for the whole picture (`starry night`).
Phrases = dict[str, tuple[str, ...]]

TIME_AFTER: Final[Phrases] = {
    "dawn": (
        "at dawn",
        "at sunrise",
        "in the early morning",
        "at daybreak",
        "in the morning",
        "at first light",
    ),
    "noon": (
        "at noon",
        "at midday",
        "in broad daylight",
        "on a sunny day",
        "by day",
        "in bright sunshine",
        "in the sun",
    ),
    "golden hour": (
        "at golden hour",
        "in golden light",
        "during the golden hour",
        "in warm evening light",
        "in the late afternoon",
        "in warm golden light",
    ),
    "sunset": ("at sunset", "at dusk", "in the evening", "as the sun goes down", "at twilight", "at sundown"),
    "night": (
        "at night",
        "under the stars",
        "at midnight",
        "in the moonlight",
        "under a starry sky",
        "after dark",
    ),
}
TIME_BEFORE: Final[Phrases] = {
    "dawn": ("morning", "early morning"),
    "noon": ("sunny", "bright", "sunlit"),
    "golden hour": ("golden", "warm golden"),
    "sunset": ("evening", "twilight"),
    "night": ("moonlit", "dark", "starry", "nocturnal"),
}
TIME_OVER: Final[Phrases] = {
    "dawn": ("sunrise", "dawn", "daybreak"),
    "noon": ("blue sky", "bright day", "midday sun"),
    "golden hour": ("golden hour", "golden light"),
    "sunset": ("sunset", "red sunset", "dusk", "beautiful sunset"),
    "night": ("night", "starry night", "moon", "night sky"),
}
PLACE_AFTER: Final[Phrases] = {
    "mountains": (
        "in the mountains",
        "in the alps",
        "in a mountain valley",
        "before the mountains",
        "below the peaks",
    ),
    "ocean": (
        "by the sea",
        "at the ocean",
        "on the ocean",
        "at the seaside",
        "on the beach",
        "at sea",
        "on the water",
    ),
    "desert": ("in the desert", "in a desert", "among sand dunes", "on the dunes", "in the sand"),
    "forest": (
        "in a forest",
        "in the forest",
        "in the woods",
        "among pine trees",
        "in a pine forest",
        "in the jungle",
    ),
    "garden": (
        "in a garden",
        "in the garden",
        "in a park",
        "in a meadow",
        "among flowers",
        "in a field of flowers",
    ),
    "city": (
        "in a city",
        "in the city",
        "downtown",
        "on the street",
        "among skyscrapers",
        "in a town",
        "in the metropolis",
    ),
}
PLACE: Final[Phrases] = {
    "mountains": (
        "mountain landscape",
        "mountains",
        "mountain range",
        "mountain valley",
        "peaks",
        "alpine landscape",
    ),
    "ocean": ("ocean", "sea", "seascape", "beach", "coast", "seaside"),
    "desert": ("desert", "desert landscape", "dunes", "sand dunes", "canyon"),
    "forest": ("forest", "woods", "woodland", "pine forest", "jungle"),
    "garden": ("garden", "park", "meadow", "flower garden", "field of flowers", "countryside"),
    "city": ("city", "cityscape", "skyline", "town", "metropolis", "city street"),
}
PLACE_MOODS: Final[Phrases] = {
    "mountains": ("serene", "majestic", "quiet", "beautiful", "vast", "peaceful"),
    "ocean": ("calm", "endless", "peaceful", "blue", "beautiful", "wide"),
    "desert": ("lonely", "endless", "hot", "wide", "quiet", "dry"),
    "forest": ("dense", "quiet", "green", "deep", "old", "peaceful"),
    "garden": ("blooming", "lovely", "lush", "flowery", "beautiful", "green"),
    "city": ("futuristic", "modern", "big", "busy", "sci-fi", "sprawling"),
}
WEATHER_AFTER: Final[Phrases] = {
    "clear": ("under a clear sky", "in fine weather", "with a clear sky", "in good weather"),
    "snow": (
        "in the snow",
        "with snow",
        "with falling snow",
        "in winter",
        "while it snows",
        "in a snowstorm",
        "covered in snow",
    ),
    "fog": ("in the fog", "in thick fog", "in the mist", "with fog", "shrouded in mist", "in morning mist"),
    "rain": (
        "in the rain",
        "while it rains",
        "in heavy rain",
        "in a storm",
        "with rain",
        "in a thunderstorm",
    ),
    "rainbow": ("with a rainbow", "under a rainbow", "and a rainbow in the sky", "with a rainbow above"),
    "magical lights": (
        "with magical lights",
        "with fireflies",
        "with glowing lights",
        "full of sparkles",
        "with floating lights",
        "with fairy lights",
        "with magic in the air",
    ),
}
WEATHER_BEFORE: Final[Phrases] = {
    "clear": ("clear",),
    "snow": ("snowy", "wintry", "frozen", "winter", "snow-covered"),
    "fog": ("foggy", "misty", "hazy"),
    "rain": ("rainy", "stormy", "wet"),
    "magical lights": ("magical", "enchanted", "fairytale", "mystical", "glowing", "sparkling"),
}
SUBJECT: Final[Phrases] = {
    "robot": ("robot", "android", "little robot", "droid", "bot", "machine"),
    "house": ("house", "cottage", "cabin", "hut", "home", "farmhouse", "little house"),
    "tree": ("tree", "big tree", "lonely tree", "old tree", "oak"),
    "boat": ("boat", "sailboat", "sailing boat", "ship", "yacht", "sailing ship"),
    "cat": ("cat", "kitten", "kitty", "fluffy cat", "sitting cat"),
    "balloon": ("hot air balloon", "balloon", "hot-air balloon"),
    "flying cars": ("flying cars", "hover cars", "flying vehicles", "hovering cars", "futuristic cars"),
    "person": ("person", "man", "woman", "girl", "boy", "child", "traveller", "hiker", "lady", "human"),
}
SUBJECT_MOODS: Final[Phrases] = {
    "robot": ("cute", "friendly", "small", "shiny"),
    "house": ("small", "cosy", "lonely", "pretty"),
    "tree": ("beautiful", "great", "tall"),
    "boat": ("small", "wooden", "little"),
    "cat": ("cute", "small", "sweet", "curious"),
    "balloon": ("striped", "big", "beautiful"),
    "flying cars": ("fast", "shiny", "many"),
    "person": ("young", "happy", "smiling", "lone"),
}
CLOTHES: Final = ("coat", "jacket", "dress", "raincoat", "shirt")
COLOUR: Final[Phrases] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "amber"),
    "yellow": ("yellow", "lemon yellow"),
    "green": ("green", "emerald"),
    "blue": ("blue", "azure", "navy blue"),
    "purple": ("purple", "violet"),
    "pink": ("pink", "rosy"),
    "white": ("white", "cream", "pale"),
}
TREE_COLOUR: Final[Phrases] = {
    "green": ("green", "leafy"),
    "pink": ("pink", "cherry blossom", "blossoming"),
    "orange": ("orange", "autumn", "autumnal"),
}
BEGINNINGS: Final = (
    "a picture of",
    "an illustration of",
    "a painting of",
    "a photo of",
    "an image of",
    "a drawing of",
    "please draw",
    "show me",
)
ENDINGS: Final = (
    "digital art",
    "flat style",
    "highly detailed",
    "minimalist",
    "illustration",
    "4k",
    "beautiful",
    "vector art",
)
