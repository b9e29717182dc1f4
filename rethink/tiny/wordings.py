"""The words of the built-in world: how an edit is asked for, in everyday, unusual and roundabout ways.

Placeholders: {x} the thing, {color} {shape} {place} {size} new values, {new} a thing to come, {at} where, {background};
in REASONING_WORDINGS {a} and {b} name things or their shapes.
"""

# Everyday wording: what the built-in editor learns.
WORDINGS = {
    "recolor": [
        "make {x} {color}", "turn {x} {color}", "change {x} to {color}", "paint {x} {color}", "color {x} {color}",
        "change the color of {x} to {color}", "{x} should be {color}", "give {x} a {color} color",
        "set the color of {x} to {color}", "make the color of {x} {color}", "let {x} become {color}",
        "let {x} be {color}", "make {x} become {color}", "change {x} to be {color}", "draw {x} {color}",
        "color {x} to be {color}", "the color of {x} should be {color}",
    ],
    "reshape": [
        "turn {x} into a {shape}", "make {x} a {shape}", "change {x} into a {shape}", "replace {x} with a {shape}",
        "{x} should be a {shape}", "change the shape of {x} to a {shape}", "swap {x} for a {shape}",
        "let {x} become a {shape}", "give {x} the shape of a {shape}", "transform {x} into a {shape}",
        "make {x} become a {shape}", "let {x} be a {shape}", "draw a {shape} in place of {x}",
        "put a {shape} in the place of {x}", "change {x} to be a {shape}", "make the shape of {x} a {shape}",
        "let the shape of {x} become a {shape}", "there should be a {shape} in place of {x}",
    ],
    "resize": [
        "make {x} {size}", "{x} should be {size}", "change {x} to be {size}", "turn {x} {size}", "let {x} become {size}",
        "make the size of {x} {size}", "scale {x} to be {size}", "draw {x} {size}",
        "make {x} become {size}", "change the size of {x} to be {size}", "let the size of {x} become {size}",
        "the size of {x} should be {size}", "paint {x} {size}",
    ],
    "move": [
        "move {x} to the {place}", "put {x} at the {place}", "place {x} at the {place}", "shift {x} to the {place}",
        "{x} should be at the {place}", "bring {x} to the {place}", "let {x} go to the {place}", "set {x} at the {place}",
        "change the place of {x} to the {place}",
        "take {x} and put it at the {place}", "make {x} go to the {place}", "let {x} move to the {place}",
        "{x} should go to the {place}", "paint {x} at the {place}", "take {x} over to the {place}",
        "change {x} to be at the {place}", "take {x} away and set it at the {place}",
    ],
    "add": [
        "add {new}{at}", "put {new}{at}", "place {new}{at}", "draw {new}{at}", "there should be {new}{at}",
        "insert {new}{at}", "paint {new}{at}", "bring in {new}{at}", "let there be {new}{at}",
        "let {new} appear{at}", "show {new}{at}", "bring {new} in{at}", "take {new} and put it{at}",
        "it should show {new}{at}", "give the background {new}{at}", "make it show {new}{at}",
    ],
    "remove": [
        "remove {x}", "delete {x}", "erase {x}", "take away {x}", "get rid of {x}", "take {x} away", "take {x} out",
        "{x} should go away", "let {x} go away", "make {x} disappear",
        "{x} should disappear", "make {x} go away", "let {x} be taken out", "put {x} away",
        "there should be nothing in place of {x}",
    ],
    "background": [
        "make the background {background}", "change the background to {background}", "turn the background {background}",
        "paint the background {background}", "the background should be {background}", "set the background to {background}",
        "change the color of the background to {background}", "put everything on a {background} background",
        "give it a {background} background", "let the background become {background}",
        "make the background become {background}", "draw the background {background}",
        "change the background to be {background}", "the background should become {background}",
        "put it on a {background} background", "let everything be on a {background} background",
        "set the color of the background to {background}",
    ],
    "cover": [
        "cover {x} with a black square", "hide {x} behind a black square", "put a black square over {x}",
        "place a black square on top of {x}", "draw a black square over {x}", "paint a black square over {x}",
        "{x} should be behind a black square", "let a black square hide {x}", "cover up {x} with a black square",
        "there should be a black square over {x}", "a black square should hide {x}",
        "make a black square appear over {x}", "put {x} behind a black square", "add a black square over {x}",
        "let a black square go over {x}", "bring in a black square to hide {x}",
    ],
    "uncover": [
        "remove the black square. behind it is {new}", "take away the black square. there is {new} behind it",
        "delete the black square. behind it there is {new}", "erase the black square and show {new}",
        "get rid of the black square. it hides {new}", "uncover {new} behind the black square",
        "replace the black square with {new}", "take the black square out. it should show {new}",
        "the black square is over {new}. take it away", "there is {new} behind the black square. remove it",
        "behind the black square is {new}. show it", "make the black square disappear. it hides {new}",
        "the black square should go away and show {new}", "a black square hides {new}. get rid of it",
    ],
}  # fmt: skip
# Never trained on; known words only.
HELD_OUT_WORDINGS = {
    "recolor": ["{x} should become {color}", "paint {x} to be {color}", "set {x} to {color}"],
    "reshape": ["{x} should become a {shape}", "paint a {shape} in place of {x}", "set the shape of {x} to a {shape}"],
    "resize": ["{x} should become {size}", "let {x} be {size}", "set the size of {x} to be {size}"],
    "move": ["let {x} be at the {place}", "take {x} to the {place}", "draw {x} at the {place}"],
    "add": ["set {new}{at}", "give it {new}{at}", "make {new} appear{at}"],
    "remove": ["get {x} out", "let {x} disappear", "{x} should be taken away"],
    "background": ["let the background be {background}", "color the background {background}", "it should be on a {background} background"],
    "cover": ["set a black square on top of {x}", "let a black square cover {x}", "hide {x} with a black square"],
    "uncover": ["let the black square disappear. behind it is {new}", "take the black square away and show {new}",
                "the black square hides {new}. remove it"],
}  # fmt: skip
# What no editor here was taught: the thinker's work.
UNUSUAL_WORDINGS = {
    "recolor": [
        "dye {x} {color}", "{x} would look better in {color}", "tint {x} so it ends up {color}",
        "I picture {x} as something {color}", "I'd like to see {x} in {color}", "how about {x} in {color}?",
    ],
    "reshape": [
        "morph {x} to form a {shape}", "I'd rather see a {shape} than {x}", "reforge {x} as a {shape}",
        "mold {x} until it is a {shape}", "how about a {shape} where {x} is?",
    ],
    "resize": [
        "{x} ought to be {size}", "adjust the dimensions of {x}: {size}", "I'd like {x} to end up {size}",
        "how about {x}, but {size}?", "{x} would look better {size}",
    ],
    "move": [
        "relocate {x} to the {place}", "{x} belongs in the {place}", "drag {x} over to the {place} corner",
        "send {x} off to the {place}", "I'd like to see {x} in the {place}", "how about {x} in the {place} corner?",
    ],
    "add": [
        "conjure up {new}{at}", "I am missing {new}{at}", "introduce {new}{at}", "I'd like to see {new}{at}",
        "summon {new}{at}", "how about {new}{at}?",
    ],
    "remove": [
        "banish {x}", "I never want to see {x} again", "wipe {x} off the picture", "nobody needs {x}",
        "send {x} off for good",
    ],
    "background": [
        "everything should happen against {background}", "swap the backdrop for {background}",
        "redecorate: {background} behind it all", "I picture {background} behind it all",
        "how about {background} as the backdrop?",
    ],
    "cover": [
        "censor {x}", "redact {x} with a dark block", "nobody should see {x}: black it out", "black {x} out",
        "a dark block belongs on {x}",
    ],
    "uncover": [
        "lift the dark block, under it sits {new}", "uncensor it: {new} was there all along",
        "wipe the dark block off {new}", "I want to see {new} under the dark block",
    ],
}  # fmt: skip
# Never trained on; words of the table above, put together in other ways.
HELD_OUT_UNUSUAL = {
    "recolor": ["dye {x} so it ends up {color}", "tint {x} {color}", "I'd rather see {x} in {color}"],
    "reshape": ["morph {x} until it is a {shape}", "I'd like to see a {shape} where {x} is", "reforge {x} to form a {shape}"],
    "resize": ["I'd rather see {x} {size}", "{x} ought to end up {size}"],
    "move": ["drag {x} to the {place}", "relocate {x} over to the {place} corner", "send {x} to the {place} corner"],
    "add": ["I'd rather see {new}{at}", "I'd like {new}{at}"],
    "remove": ["nobody should see {x} again", "I never want {x} again", "wipe {x} off for good"],
    "background": ["everything belongs against {background}", "swap the backdrop: {background} behind everything"],
    "cover": ["redact {x}: black it out", "nobody should see {x}: a dark block belongs on it"],
    "uncover": ["lift the dark block off {new}", "uncensor it: under the dark block sits {new}"],
}  # fmt: skip
REASONING_WORDINGS = {
    "small_like_large": [
        "make the smallest shape the color of the largest", "the largest shape has the color that the smallest should have",
        "let the smallest shape take over the color of the largest",
    ],
    "remove_smallest": ["remove the smallest shape", "delete whatever is smaller than all the others"],
    "remove_largest": ["remove the largest shape", "delete whatever is bigger than all the others"],
    "remove_diagonal": [
        "remove whatever is diagonally opposite {a}", "delete the shape in the corner that is farthest from {a}",
    ],
    "same_color": [
        "give {a} the same color as {b}", "{a} should match {b} in color", "paint {a} like {b}",
    ],
    "same_shape_beside": [
        "the shape beside {a} should have the same shape as it", "what stands next to {a} should become its twin in shape",
    ],
    "same_shape_above": [
        "the shape above {a} should have the same shape as it", "what stands over {a} should become its twin in shape",
    ],
    "same_shape_below": [
        "the shape below {a} should have the same shape as it", "what stands under {a} should become its twin in shape",
    ],
    "fill_the_gap": ["put a copy of {a} in the only empty corner", "repeat {a} where nothing is yet"],
    "move_to_gap": ["move the largest shape into the only empty corner", "bring the biggest thing to where nothing is yet"],
    "odd_one_out": ["remove the only shape that is not {a}", "everything that stays should be {a}"],
}  # fmt: skip
HELD_OUT_REASONING = {
    "small_like_large": ["the smallest shape should take over the color that the largest has"],
    "remove_smallest": ["delete the smallest shape", "remove whatever is smaller than all the others"],
    "remove_largest": ["delete the largest shape", "remove whatever is bigger than all the others"],
    "remove_diagonal": ["delete whatever is diagonally opposite {a}", "remove the shape that is farthest from {a}"],
    "same_color": ["{a} should have the same color as {b}", "paint {a} to match {b}"],
    "same_shape_beside": ["what stands beside {a} should have the same shape"],
    "same_shape_above": ["what stands above {a} should have the same shape"],
    "same_shape_below": ["what stands below {a} should have the same shape"],
    "fill_the_gap": ["put a copy of {a} where nothing is yet", "repeat {a} in the only empty corner"],
    "move_to_gap": ["bring the largest shape into the only empty corner", "move the biggest thing to where nothing is yet"],
    "odd_one_out": ["delete the only shape that is not {a}"],
}  # fmt: skip
SYNONYMS = {
    "red": ("crimson", "scarlet"), "orange": ("tangerine", "pumpkin-hued"), "yellow": ("golden", "lemon"),
    "green": ("emerald", "grassy"), "blue": ("cobalt", "sapphire"), "purple": ("violet", "plum"),
    "pink": ("rosy", "bubblegum"), "white": ("snowy", "ivory"),
    "circle": ("disc", "ball"), "square": ("box", "block"), "triangle": ("wedge", "pyramid"),
    "star": ("five-pointed figure", "pentagram"), "heart": ("valentine", "love symbol"), "cross": ("plus sign", "plus"),
    "top left": ("upper left", "north-west"), "top right": ("upper right", "north-east"),
    "bottom left": ("lower left", "south-west"), "bottom right": ("lower right", "south-east"),
    "bigger": ("one size up", "more imposing"), "smaller": ("one size down", "more modest"),
    "small": ("tiny", "little"), "large": ("huge", "enormous"), "medium": ("mid-sized", "middling"),
    "beige": ("sand", "cream"), "gray": ("slate", "ash"), "navy": ("midnight blue", "dark blue"),
    "teal": ("dark turquoise", "sea"), "lavender": ("lilac", "pale violet"), "mint": ("pale green", "pistachio"),
}  # fmt: skip
