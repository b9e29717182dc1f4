"""The words of wide English for what the built-in world has: colors, shapes, sizes, places, backgrounds.

Every entry is (known, held out): the second is never trained on, and stands only where the image says what it means.
"""

Words = dict[str, tuple[str, str]]  # phrases separated by "|"

COLOR_WORDS: Words = {
    "red": (
        "red|scarlet|ruby|cherry|cherry red|ruby red|bright red|deep red|blood red|brick red|tomato red|fire-engine red"
        "|crimson|cardinal|carmine|maroon|burgundy|reddish|apple red|the color of blood|the color of a tomato"
        "|red like a fire truck|as red as a cherry|poppy red|lipstick red|rust red|wine red|strawberry|garnet"
        "|raspberry|sanguine|oxblood|chili red|fiery red|pepper red|ketchup red|claret|merlot|bloody|stop-sign red"
        "|beet red|firebrick|the color of a stop sign|rouge|dark red|currant red|brick",
        "vermilion|ruddy|candy-apple red|cranberry",
    ),
    "orange": (
        "orange|tangerine|pumpkin|carrot|bright orange|burnt orange|orangey|pumpkin-hued|pumpkin orange|mandarin"
        "|the color of a carrot|the color of a pumpkin|orange like a tangerine|apricot|sunset orange|marmalade|carroty"
        "|clementine|the color of an orange|traffic-cone orange|amber|copper|terracotta"
        "|cantaloupe|ochre|rusty orange|ginger|flame orange|basketball orange|fox orange|cheddar|nectarine|kumquat"
        "|neon orange|tiger orange|dark orange|light orange|sienna|squash orange|mango|rust-orange|bright tangerine"
        "|rusty",
        "persimmon|safety orange|orangish|papaya",
    ),
    "yellow": (
        "yellow|golden|lemon|lemon yellow|canary|canary yellow|sunny|sunshine yellow|gold|mustard|banana yellow|buttercup"
        "|bright yellow|yellowish|lemony|the color of a banana|the color of the sun|yellow like a lemon|butter yellow"
        "|honey|sunflower yellow|the color of lemons|straw|corn yellow|blond|dandelion"
        "|neon yellow|pale yellow|light yellow|taxi yellow|chick yellow|bumblebee yellow|cheese yellow|pineapple"
        "|citrine|topaz|primrose|goldenrod|flaxen|school-bus yellow|egg-yolk yellow|the color of an egg yolk"
        "|dark yellow|golden yellow",
        "daffodil|saffron|maize|custard yellow",
    ),
    "green": (
        "green|emerald|grassy|grass green|lime|lime green|forest green|jade|olive|leaf green|leafy|bright green|kelly green"
        "|greenish|the color of grass|the color of leaves|green like a frog|moss green|fern|pine green|apple green"
        "|as green as grass|avocado|shamrock|pea green|bottle green|hunter green|mossy"
        "|neon green|dark green|spring green|meadow green|jungle green|basil|sage|spinach|broccoli|cucumber|kiwi"
        "|chartreuse|malachite|ivy|army green|frog green|turtle green|cactus green|juniper|parsley|the color of a frog",
        "viridian|clover green|pickle green|verdant",
    ),
    "blue": (
        "blue|cobalt|sapphire|azure|cerulean|royal blue|sky blue|bright blue|ocean blue|ultramarine|denim|bluish"
        "|the color of the sky|the color of the sea|blue like the ocean|cobalt blue|deep blue|electric blue|blueberry"
        "|as blue as the sky|the color of the ocean|marine blue|cornflower blue|denim blue|baby blue"
        "|neon blue|light blue|powder blue|steel blue|jeans blue|lake blue|cornflower|bluebell|smurf blue|sky-colored"
        "|arctic blue|pacific blue|sky|ice blue|glacier blue|the color of blueberries|medium blue|pale blue|clear blue",
        "lapis|sapphire blue|azure blue|prussian blue",
    ),
    "purple": (
        "purple|violet|plum|grape|eggplant|amethyst|royal purple|bright purple|deep purple|purplish|aubergine|mauve"
        "|the color of a grape|the color of a plum|purple like an eggplant|plum-colored|dark violet|lilac|mulberry|indigo"
        "|grape purple|orchid|the color of grapes|the color of violets"
        "|heather|iris|magenta purple|concord|raisin|fig|boysenberry|heliotrope|pansy|jam purple|dark purple"
        "|neon purple|grapey|violet purple|the color of an eggplant|medium purple|bright violet|plum purple",
        "amaranthine|blackcurrant|violet-hued|byzantium",
    ),
    "pink": (
        "pink|rosy|bubblegum|rose|hot pink|bubblegum pink|light pink|pale pink|flamingo pink|blush|salmon|fuchsia|magenta"
        "|pinkish|candy pink|the color of a flamingo|the color of a pig|pink like bubblegum|cotton-candy pink|rose-colored"
        "|rose pink|baby pink|as pink as a piglet|pastel pink|the color of roses|carnation|coral"
        "|watermelon|neon pink|dusty pink|barbie pink|ballet pink|petal pink|cherry blossom|cerise|shrimp|lollipop pink"
        "|powder pink|dark pink|sakura|guava|taffy|the color of cotton candy|soft pink|salmon pink|bright pink",
        "peony|shocking pink|flamingo|piggy pink",
    ),
    "white": (
        "white|snowy|ivory|snow white|chalk white|milky|pearl|pearly|pure white|whitish|the color of snow|alabaster"
        "|the color of milk|white like snow|as white as snow|milk white|paper white|bone white|chalky|eggshell|off-white"
        "|bright white|cotton white|white as a sheet|porcelain|bleached"
        "|vanilla|linen|cloud white|coconut|wintry white|ghost white|sugar white|clean white|blank white|polar white"
        "|salt white|swan white|plain white|arctic white|blanched|colorless|the color of clouds|the color of paper",
        "snow-colored|lily-white|frosty white|marshmallow",
    ),
}
SHAPE_WORDS: Words = {
    "circle": (
        "circle|disc|disk|ball|round shape|round thing|dot|orb|circular shape|circular thing|coin|globe|sphere|bubble"
        "|round object|thing without corners|marble|bead|full circle|bullet point"
        "|ring|wheel|plate|pill|pea|droplet|button|pancake|full moon|clock face|spot|blot|round figure|round piece"
        "|circular object|circular figure|perfect circle|rounded shape|balloon|penny|round one|round element",
        "roundel|puck|round blob",
    ),
    "square": (
        "square|box|block|square shape|square thing|tile|four-sided shape|cube|quadrilateral|boxy thing|boxy shape"
        "|thing with four corners|shape with four sides|four-cornered shape|rectangle|quad|square box|four-sided thing"
        "|brick shape|checker|dice|window|rectangular shape|squarish thing|squarish shape|right-angled shape"
        "|four-sided figure|pixel|cubic shape|boxlike thing|crate|parcel|square figure|square object|rectangular thing"
        "|four-cornered thing",
        "quadrangle|foursquare|square tile",
    ),
    "triangle": (
        "triangle|wedge|pyramid|three-sided shape|triangular shape|triangular thing|three-cornered shape|triangle shape"
        "|thing with three corners|shape with three sides|three-pointed thing|triangle thing|cone|three-sided thing|delta"
        "|tri-sided figure|triangular object|triangular figure|three-sided object|slice of pizza|tent|roof|mountain"
        "|spike|teepee|yield sign|three-angled shape|trilateral|prism|party hat|nacho|three-cornered thing"
        "|three-sided figure",
        "trigon|arrowhead|tri-cornered figure",
    ),
    "star": (
        "star|pentagram|five-pointed figure|star shape|five-pointed shape|starry shape|starry thing|star-shaped thing"
        "|thing with five points|shape with five points|pointy star|starfish|twinkly shape"
        "|five-pointed star"
        "|starry figure|astral shape|star symbol|star object|sparkle|asterisk|five-pointer|pointed star|twinkler"
        "|star figure|spiky shape|spiky thing|celestial shape|five-pointed thing|five-pointed object|starry object"
        "|star sign",
        "pentacle|sheriff's badge|five-armed figure",
    ),
    "heart": (
        "heart|valentine|love symbol|heart shape|love heart|heart-shaped thing|symbol of love|valentine shape"
        "|sign of love|heart symbol|lovey heart|heart thing|cartoon heart|love sign"
        "|heartlet|heart figure|heart-shaped object|heart-shaped figure|romantic shape|love icon|heart icon|candy heart"
        "|affection symbol|cardioid|heartlike thing|symbol of romance|emblem of love|heart emoji|heart object",
        "sweetheart shape|valentine's heart|cupid's mark",
    ),
    "cross": (
        "cross|plus|plus sign|plus symbol|cross shape|cross-shaped thing|addition sign|plus shape|plus-shaped thing"
        "|medical cross|plus mark|cross symbol|cross thing|first-aid cross|addition symbol"
        "|plus thing|crossed bars|cruciform|cruciform shape|mathematical plus|positive sign|crossed shape"
        "|four-armed shape|four-armed figure|cross figure|cross object|hospital sign|hospital cross|first-aid sign"
        "|plus figure|sum sign|crucifix",
        "crosslet|swiss-cross shape|add sign",
    ),
}
SIZE_WORDS: Words = {
    "small": (
        "small|tiny|little|mini|miniature|petite|teeny|wee|small-sized|teeny-tiny|itty-bitty|minuscule|compact|smallish"
        "|pocket-sized|dinky"
        "|slight|puny|micro|itsy-bitsy|baby|undersized|bite-sized|mini-sized|toy-sized|teensy|little bitty|peewee"
        "|small-scale|microscopic",
        "diminutive|pint-sized",
    ),
    "medium": (
        "medium|medium-sized|mid-sized|average|average-sized|middling|normal-sized|regular-sized|mid-size|middle-sized"
        "|moderately sized"
        "|of medium size|of average size|neither big nor small|standard-sized|standard|ordinary-sized|medium-size"
        "|average-size|mid-scale",
        "of-the-middle-size|intermediate",
    ),
    "large": (
        "large|big|huge|enormous|giant|massive|great big|gigantic|oversized|jumbo|really big|very large|whopping|hefty"
        "|sizable|bulky"
        "|mega|humongous|immense|super-sized|extra large|extra-large|tremendous|monstrous|hulking|ginormous|large-sized"
        "|vast|mighty|fat|outsized|mammoth|titanic|giant-sized|rather big",
        "colossal|king-sized",
    ),
}
# Of another size than now; never held out, as nothing else says which way.
CHANGED_SIZES: Words = {
    "bigger": (
        "bigger|larger|greater in size|one size up|more imposing|a size larger|a size bigger|larger than now"
        "|more sizable|grander|huger|one notch bigger|one step larger|more massive|bulkier",
        "",
    ),
    "smaller": (
        "smaller|tinier|one size down|more modest|a size smaller|littler|less big|more compact|smaller than now"
        "|one notch smaller|one step smaller|slighter|punier|more petite|less large|more miniature",
        "",
    ),
}
BACKGROUND_WORDS: Words = {
    "beige": (
        "beige|sand|sandy|cream|tan|khaki|ecru|oatmeal|sand-colored|the color of sand|light brown|pale brown|creamy"
        "|like a beach|camel|wheat|latte|parchment|a warm sand color|biscuit"
        "|buff|fawn|almond|nude|champagne|cappuccino|sandstone|manila|cream-colored|desert sand|light tan",
        "",
    ),
    "gray": (
        "gray|grey|slate|ash|silver|stone|stone gray|ash gray|slate gray|concrete|cement|ashen|the color of concrete"
        "|silvery|grayish|like an elephant|smoky gray|steel gray|charcoal|the color of rain clouds|pewter"
        "|graphite|lead|gunmetal|mouse gray|foggy|dove gray|light gray|dark gray|iron|granite|pebble|asphalt|zinc|tin"
        "|medium gray|ash-colored",
        "",
    ),
    "navy": (
        "navy|navy blue|midnight blue|dark blue|deep blue|midnight|ink blue|very dark blue|the color of the night sky"
        "|like the night sky|inky blue|a dark navy|the darkest blue|sailor blue|deep dark blue"
        "|dark navy blue|naval blue|indigo blue|oxford blue|dusk blue|deep-sea blue|blackish blue|night blue"
        "|navy-colored|nearly black blue",
        "",
    ),
    "teal": (
        "teal|turquoise|dark turquoise|sea|aqua|blue-green|greenish blue|bluish green|aquamarine|sea green|peacock|petrol"
        "|dark cyan|cyan|between blue and green|like a lagoon|teal green|deep teal|lagoon"
        "|mallard|ocean teal|verdigris|tropical sea|teal blue|aqua green|blue green|greeny blue|bluey green"
        "|teal-colored",
        "",
    ),
    "lavender": (
        "lavender|lilac|pale violet|light purple|pale purple|pastel purple|soft purple|wisteria|light violet|periwinkle"
        "|like lavender flowers|lilac-colored|lavender purple|faint purple|mauve|light lilac"
        "|pastel violet|thistle|mild purple|washed-out purple|light lavender|lavender-colored|very light purple"
        "|whitish purple|pale lavender",
        "",
    ),
    "mint": (
        "mint|mint green|pale green|light green|pistachio|pastel green|minty|seafoam|soft green|light mint|seafoam green"
        "|like mint ice cream|very light green|minty green|celadon|faint green"
        "|mint-colored|toothpaste green|pale mint|soft mint|spearmint|honeydew|whitish green|peppermint green"
        "|washed-out green|mild green",
        "",
    ),
}
CORNERS: Words = {
    "top left": (
        "top left|upper left|top-left|upper-left|northwest|north-west|nw|left top|top left-hand|upper left-hand|upper-left-hand"
        "|topmost left"
        "|topleft|upperleft|left-hand top|left upper|top lefthand",
        "nor'west|uppermost left",
    ),
    "top right": (
        "top right|upper right|top-right|upper-right|northeast|north-east|ne|right top|top right-hand|upper right-hand"
        "|upper-right-hand|topmost right"
        "|topright|upperright|right-hand top|right upper|top righthand",
        "nor'east|uppermost right",
    ),
    "bottom left": (
        "bottom left|lower left|bottom-left|lower-left|southwest|south-west|sw|left bottom|bottom left-hand|lower left-hand"
        "|lower-left-hand|bottommost left"
        "|bottomleft|lowerleft|left-hand bottom|left lower|bottom lefthand",
        "sou'west|lowermost left",
    ),
    "bottom right": (
        "bottom right|lower right|bottom-right|lower-right|southeast|south-east|se|right bottom|bottom right-hand"
        "|lower right-hand|lower-right-hand|bottommost right"
        "|bottomright|lowerright|right-hand bottom|right lower|bottom righthand",
        "sou'east|lowermost right",
    ),
}
# What stands for a thing where its color, place or size alone says which; the noun of a shape is above.
NOUNS = (
    "thing|one|shape|object|item|figure|piece|element|bit|guy|form|symbol"
    "|thingy|entity|fellow|creature|component|graphic|icon|motif|little guy|character|sprite|glyph|specimen|feature"
    "|fella|buddy|dude|gadget|contraption|widget",
    "gizmo|doodad|whatsit|thingamajig",
)
ADJECTIVES = (
    "pretty|lovely|nice|ugly|weird|cute|odd|silly|poor|old|annoying|beautiful|funny|boring|lonely|shiny|fancy|strange"
    "|plain|bright|sad|cheerful|stupid|colorful|solid|neat"
    "|gorgeous|hideous|awful|terrible|wonderful|adorable|charming|elegant|clumsy|lazy|proud|shy|grumpy|happy|tired"
    "|random|useless|pointless|distracting|disturbing|horrible|amazing|cool|awesome|dull|bland|harsh|garish|bold|faint"
    "|flat|smooth|geometric|perfect|crooked|wonky|quiet|humble|regular|ordinary|mysterious|suspicious|rogue|stray"
    "|solitary|leftover|unwanted|superfluous|beloved|favorite|precious|darn|dear",
    "gaudy|dreary|dapper|pesky|drab|snazzy|ghastly|quaint",
)
BACKDROPS = (
    "background|backdrop|bg|back|background color|color of the background|color behind everything|area behind the shapes"
    "|canvas|wall behind them|space around the shapes|whole background|color in the back|base color|wallpaper|backing"
    "|surface behind everything|page|empty space|field behind the shapes"
    "|back color|ground|scene behind|setting|stage|bottom layer|backside|background area|background layer"
    "|area around them|rest of the canvas|wall|paper|floor|everything behind them|space behind|negative space"
    "|fill color|blank part",
    "backcloth|tablecloth under it all|surroundings|scenery",
)
BLACK_SQUARES = (
    "black square|black box|black block|dark square|dark block|black rectangle|black patch|black tile|big black square"
    "|black cover|black thing|solid black square|black bar"
    "|black mask|black object|dark patch|dark cover|dark box|dark tile|black obstruction|black overlay|black sticker"
    "|black piece|black shape|dark thing|dark rectangle|black curtain|black tape|black card|dark bar",
    "black blotch|censor box|black slab|dark panel",
)
