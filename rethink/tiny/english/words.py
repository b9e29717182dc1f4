"""The words of wide English for what the built-in world has: colors, shapes, sizes, places, backgrounds.

Every entry is (known, held out): the second is never trained on, and stands only where the image says what it means.
"""

Words = dict[str, tuple[str, str]]  # phrases separated by "|"

COLOR_WORDS: Words = {
    "red": (
        "red|scarlet|ruby|cherry|cherry red|ruby red|bright red|deep red|blood red|brick red|tomato red|fire-engine red"
        "|crimson|cardinal|carmine|maroon|burgundy|reddish|apple red|the color of blood|the color of a tomato"
        "|red like a fire truck|as red as a cherry|poppy red|lipstick red|rust red|wine red|strawberry|garnet",
        "vermilion|ruddy|candy-apple red|cranberry",
    ),
    "orange": (
        "orange|tangerine|pumpkin|carrot|bright orange|burnt orange|orangey|pumpkin-hued|pumpkin orange|mandarin"
        "|the color of a carrot|the color of a pumpkin|orange like a tangerine|apricot|sunset orange|marmalade|carroty"
        "|clementine|the color of an orange|traffic-cone orange|amber|copper|terracotta",
        "persimmon|safety orange|orangish|papaya",
    ),
    "yellow": (
        "yellow|golden|lemon|lemon yellow|canary|canary yellow|sunny|sunshine yellow|gold|mustard|banana yellow|buttercup"
        "|bright yellow|yellowish|lemony|the color of a banana|the color of the sun|yellow like a lemon|butter yellow"
        "|honey|sunflower yellow|the color of lemons|straw|corn yellow|blond|dandelion",
        "daffodil|saffron|maize|custard yellow",
    ),
    "green": (
        "green|emerald|grassy|grass green|lime|lime green|forest green|jade|olive|leaf green|leafy|bright green|kelly green"
        "|greenish|the color of grass|the color of leaves|green like a frog|moss green|fern|pine green|apple green"
        "|as green as grass|avocado|shamrock|pea green|bottle green|hunter green|mossy",
        "viridian|clover green|pickle green|verdant",
    ),
    "blue": (
        "blue|cobalt|sapphire|azure|cerulean|royal blue|sky blue|bright blue|ocean blue|ultramarine|denim|bluish"
        "|the color of the sky|the color of the sea|blue like the ocean|cobalt blue|deep blue|electric blue|blueberry"
        "|as blue as the sky|the color of the ocean|marine blue|cornflower blue|denim blue|baby blue",
        "lapis|sapphire blue|azure blue|prussian blue",
    ),
    "purple": (
        "purple|violet|plum|grape|eggplant|amethyst|royal purple|bright purple|deep purple|purplish|aubergine|mauve"
        "|the color of a grape|the color of a plum|purple like an eggplant|plum-colored|dark violet|lilac|mulberry|indigo"
        "|grape purple|orchid|the color of grapes|the color of violets",
        "amaranthine|blackcurrant|violet-hued|byzantium",
    ),
    "pink": (
        "pink|rosy|bubblegum|rose|hot pink|bubblegum pink|light pink|pale pink|flamingo pink|blush|salmon|fuchsia|magenta"
        "|pinkish|candy pink|the color of a flamingo|the color of a pig|pink like bubblegum|cotton-candy pink|rose-colored"
        "|rose pink|baby pink|as pink as a piglet|pastel pink|the color of roses|carnation|coral",
        "peony|shocking pink|flamingo|piggy pink",
    ),
    "white": (
        "white|snowy|ivory|snow white|chalk white|milky|pearl|pearly|pure white|whitish|the color of snow|alabaster"
        "|the color of milk|white like snow|as white as snow|milk white|paper white|bone white|chalky|eggshell|off-white"
        "|bright white|cotton white|white as a sheet|porcelain|bleached",
        "snow-colored|lily-white|frosty white|marshmallow",
    ),
}
SHAPE_WORDS: Words = {
    "circle": (
        "circle|disc|disk|ball|round shape|round thing|dot|orb|circular shape|circular thing|coin|globe|sphere|bubble"
        "|round object|thing without corners|marble|bead|full circle|bullet point",
        "roundel|puck|round blob",
    ),
    "square": (
        "square|box|block|square shape|square thing|tile|four-sided shape|cube|quadrilateral|boxy thing|boxy shape"
        "|thing with four corners|shape with four sides|four-cornered shape|rectangle|quad|square box|four-sided thing",
        "quadrangle|foursquare|square tile",
    ),
    "triangle": (
        "triangle|wedge|pyramid|three-sided shape|triangular shape|triangular thing|three-cornered shape|triangle shape"
        "|thing with three corners|shape with three sides|three-pointed thing|triangle thing|cone|three-sided thing|delta",
        "trigon|arrowhead|tri-cornered figure",
    ),
    "star": (
        "star|pentagram|five-pointed figure|star shape|five-pointed shape|starry shape|starry thing|star-shaped thing"
        "|thing with five points|shape with five points|pointy star|starfish|twinkly shape"
        "|five-pointed star",
        "pentacle|sheriff's badge|five-armed figure",
    ),
    "heart": (
        "heart|valentine|love symbol|heart shape|love heart|heart-shaped thing|symbol of love|valentine shape"
        "|sign of love|heart symbol|lovey heart|heart thing|cartoon heart|love sign",
        "sweetheart shape|valentine's heart|cupid's mark",
    ),
    "cross": (
        "cross|plus|plus sign|plus symbol|cross shape|cross-shaped thing|addition sign|plus shape|plus-shaped thing"
        "|medical cross|plus mark|cross symbol|cross thing|first-aid cross|addition symbol",
        "crosslet|swiss-cross shape|add sign",
    ),
}
SIZE_WORDS: Words = {
    "small": (
        "small|tiny|little|mini|miniature|petite|teeny|wee|small-sized|teeny-tiny|itty-bitty|minuscule|compact|smallish"
        "|pocket-sized|dinky",
        "diminutive|pint-sized",
    ),
    "medium": (
        "medium|medium-sized|mid-sized|average|average-sized|middling|normal-sized|regular-sized|mid-size|middle-sized"
        "|moderately sized",
        "of-the-middle-size|intermediate",
    ),
    "large": (
        "large|big|huge|enormous|giant|massive|great big|gigantic|oversized|jumbo|really big|very large|whopping|hefty"
        "|sizable|bulky",
        "colossal|king-sized",
    ),
}
# Of another size than now; never held out, as nothing else says which way.
CHANGED_SIZES: Words = {
    "bigger": (
        "bigger|larger|greater in size|one size up|more imposing|a size larger|a size bigger|larger than now",
        "",
    ),
    "smaller": (
        "smaller|tinier|one size down|more modest|a size smaller|littler|less big|more compact|smaller than now",
        "",
    ),
}
BACKGROUND_WORDS: Words = {
    "beige": (
        "beige|sand|sandy|cream|tan|khaki|ecru|oatmeal|sand-colored|the color of sand|light brown|pale brown|creamy"
        "|like a beach|camel|wheat|latte|parchment|a warm sand color|biscuit",
        "",
    ),
    "gray": (
        "gray|grey|slate|ash|silver|stone|stone gray|ash gray|slate gray|concrete|cement|ashen|the color of concrete"
        "|silvery|grayish|like an elephant|smoky gray|steel gray|charcoal|the color of rain clouds|pewter",
        "",
    ),
    "navy": (
        "navy|navy blue|midnight blue|dark blue|deep blue|midnight|ink blue|very dark blue|the color of the night sky"
        "|like the night sky|inky blue|a dark navy|the darkest blue|sailor blue|deep dark blue",
        "",
    ),
    "teal": (
        "teal|turquoise|dark turquoise|sea|aqua|blue-green|greenish blue|bluish green|aquamarine|sea green|peacock|petrol"
        "|dark cyan|cyan|between blue and green|like a lagoon|teal green|deep teal|lagoon",
        "",
    ),
    "lavender": (
        "lavender|lilac|pale violet|light purple|pale purple|pastel purple|soft purple|wisteria|light violet|periwinkle"
        "|like lavender flowers|lilac-colored|lavender purple|faint purple|mauve|light lilac",
        "",
    ),
    "mint": (
        "mint|mint green|pale green|light green|pistachio|pastel green|minty|seafoam|soft green|light mint|seafoam green"
        "|like mint ice cream|very light green|minty green|celadon|faint green",
        "",
    ),
}
CORNERS: Words = {
    "top left": (
        "top left|upper left|top-left|upper-left|northwest|north-west|nw|left top|top left-hand|upper left-hand|upper-left-hand"
        "|topmost left",
        "nor'west|uppermost left",
    ),
    "top right": (
        "top right|upper right|top-right|upper-right|northeast|north-east|ne|right top|top right-hand|upper right-hand"
        "|upper-right-hand|topmost right",
        "nor'east|uppermost right",
    ),
    "bottom left": (
        "bottom left|lower left|bottom-left|lower-left|southwest|south-west|sw|left bottom|bottom left-hand|lower left-hand"
        "|lower-left-hand|bottommost left",
        "sou'west|lowermost left",
    ),
    "bottom right": (
        "bottom right|lower right|bottom-right|lower-right|southeast|south-east|se|right bottom|bottom right-hand"
        "|lower right-hand|lower-right-hand|bottommost right",
        "sou'east|lowermost right",
    ),
}
# What stands for a thing where its color, place or size alone says which; the noun of a shape is above.
NOUNS = "thing|one|shape|object|item|figure|piece|element|bit|guy|form|symbol", "gizmo|doodad|whatsit|thingamajig"
ADJECTIVES = (
    "pretty|lovely|nice|ugly|weird|cute|odd|silly|poor|old|annoying|beautiful|funny|boring|lonely|shiny|fancy|strange"
    "|plain|bright|sad|cheerful|stupid|colorful|solid|neat",
    "gaudy|dreary|dapper|pesky|drab|snazzy|ghastly|quaint",
)
BACKDROPS = (
    "background|backdrop|bg|back|background color|color of the background|color behind everything|area behind the shapes"
    "|canvas|wall behind them|space around the shapes|whole background|color in the back|base color|wallpaper|backing"
    "|surface behind everything|page|empty space|field behind the shapes",
    "backcloth|tablecloth under it all|surroundings|scenery",
)
BLACK_SQUARES = (
    "black square|black box|black block|dark square|dark block|black rectangle|black patch|black tile|big black square"
    "|black cover|black thing|solid black square|black bar",
    "black blotch|censor box|black slab|dark panel",
)
