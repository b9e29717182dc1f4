"""Verb phrases for what has to be worked out from the image, by the rules of `tasks`.

Every entry is (known, held out).
"""

from .verbs import Phrases

_BIG = "[largest|biggest|hugest]"
_SMALL = "[smallest|tiniest|littlest]"
_ITEM = "[shape|thing|one|object|figure|of them all]"
_EMPTY = "[into|to] the [only |one |][empty|free|unoccupied|vacant] [corner|spot|place|quarter]"
REASONING_PHRASES: Phrases = {
    "small_like_large": (
        (
            f"[make|paint|color|turn] the {_SMALL} [shape|thing|one|object] [the same color as|the color of|as the color of|in the color of] the {_BIG} [one|shape|thing|]",
            f"give the {_SMALL} {_ITEM} the [color|same color as that] of the {_BIG} [one|shape|thing|]",
            f"[copy|use|take|borrow] the color of the {_BIG} {_ITEM} for the {_SMALL} [one|shape|thing|]",
            f"recolor the {_SMALL} {_ITEM} to match the {_BIG} [one|shape|thing|]",
            f"[match|adjust|change] the color of the {_SMALL} {_ITEM} to [that of |]the {_BIG} [one|shape|thing|]",
            f"[have|let] the {_SMALL} {_ITEM} [have|take|get|wear] the color of the {_BIG} [one|shape|thing|]",
        ),
        (
            f"dip the {_SMALL} {_ITEM} in the paint of the {_BIG} one",
            f"have the {_BIG} one lend its color to the {_SMALL}",
        ),
    ),
    "remove_smallest": (
        (
            f"[remove|delete|erase|drop|ditch|eliminate|get rid of|take away|take out] the {_SMALL} {_ITEM}",
            "[remove|delete|erase|get rid of] [whatever|what|the thing that|the one that] is [smaller than all the others|the smallest|smallest|littler than the rest]",
            f"make the {_SMALL} {_ITEM} [disappear|go away|vanish]",
            f"[keep|leave] everything [but|except] the {_SMALL} {_ITEM}",
        ),
        (f"banish the {_SMALL} {_ITEM}", "cut the one of the least size"),
    ),
    "remove_largest": (
        (
            f"[remove|delete|erase|drop|ditch|eliminate|get rid of|take away|take out] the {_BIG} {_ITEM}",
            "[remove|delete|erase|get rid of] [whatever|what|the thing that|the one that] is [bigger than all the others|the biggest|largest|larger than the rest]",
            f"make the {_BIG} {_ITEM} [disappear|go away|vanish]",
            f"[keep|leave] everything [but|except] the {_BIG} {_ITEM}",
        ),
        (f"banish the {_BIG} {_ITEM}", "cut the one of the greatest size"),
    ),
    "remove_diagonal": (
        (
            "[remove|delete|erase|get rid of|take away|drop] [what|whatever|the thing that|the shape that] is [diagonally opposite|diagonal from|diagonally across from|farthest from|furthest from|farthest away from] {a}",
            "[remove|delete|erase|drop] the [shape|thing|object|one] [in the corner opposite|diagonally across from|in the opposite corner from|diagonal to|in the corner farthest from] {a}",
            "make [what|whatever] [is|stands] diagonally opposite {a} [disappear|go away|vanish]",
        ),
        ("banish whatever [lies at the far diagonal of|is kitty-corner to] {a}",),
    ),
    "same_color": (
        (
            "[give|lend] {a} the [color|same color as that] of {b}",
            "[paint|color|make|turn|dye] {a} [like|the same color as|the color of|in the color of] {b}",
            "[match|change|set|adjust] the color of {a} to [that of |]{b}",
            "make {a} [match|have the color of|look like] {b} in color",
            "[copy|take|use] the color of {b} for {a}",
            "[have|let] {a} [share|have|take|copy|get] {b}'s color",
            "make {a} the same color as {b}",
        ),
        ("[color-coordinate|harmonize] {a} with {b}, not the other way around", "dip {a} in the paint of {b}"),
    ),
    "same_shape_beside": (
        (
            "[make|turn|change] [what|whatever|the thing that|the shape that] is [beside|next to|right next to|alongside] {a} [the same shape as it|into the same shape|to the same shape as it]",
            "[give|lend] [what is|the thing|the neighbor|the shape] [beside|next to] {a} the [shape|same shape as that] of {a}",
            "[copy|use|take] the shape of {a} for [the thing|what is|the one] [next to|beside] it",
            "[have|let] [the shape|the thing|the one] [next to|beside] {a} [take|get|copy|have] its shape",
        ),
        ("clone the shape of {a} onto its neighbor at the side",),
    ),
    "same_shape_above": (
        (
            "[make|turn|change] [what|whatever|the thing that|the shape that] is [above|over|on top of|right above] {a} [the same shape as it|into the same shape|to the same shape as it]",
            "[give|lend] [what is|the thing|the neighbor|the shape] [above|over] {a} the [shape|same shape as that] of {a}",
            "[copy|use|take] the shape of {a} for [the thing|what is|the one] [above|over] it",
            "[have|let] [the shape|the thing|the one] [above|over] {a} [take|get|copy|have] its shape",
        ),
        ("clone the shape of {a} onto its upstairs neighbor",),
    ),
    "same_shape_below": (
        (
            "[make|turn|change] [what|whatever|the thing that|the shape that] is [below|under|beneath|underneath] {a} [the same shape as it|into the same shape|to the same shape as it]",
            "[give|lend] [what is|the thing|the neighbor|the shape] [below|under] {a} the [shape|same shape as that] of {a}",
            "[copy|use|take] the shape of {a} for [the thing|what is|the one] [below|beneath] it",
            "[have|let] [the shape|the thing|the one] [below|under] {a} [take|get|copy|have] its shape",
        ),
        ("clone the shape of {a} onto its downstairs neighbor",),
    ),
    "fill_the_gap": (
        (
            "[put|place|draw|add|make] [a copy of|a second|another one like|one more like|a duplicate of|the same as|a twin of] {a} [in|into] the [only |one |][empty|free|vacant] [corner|spot|place]",
            "[copy|duplicate|repeat|clone] {a} [in|into] the [only |one |][empty|free|vacant] [corner|spot|place]",
            "[repeat|copy|duplicate|clone] {a} where [nothing is|nothing is yet|there is nothing|it is empty|there is still room]",
            "fill the [gap|empty corner|empty spot|hole] with [a copy of|another one like|a duplicate of|a clone of] {a}",
        ),
        ("plug the hole with the likeness of {a}", "have {a} reappear where it is vacant"),
    ),
    "move_to_gap": (
        (
            f"[move|bring|put|shift|drag|take|push|slide] the {_BIG} {_ITEM} {_EMPTY}",
            f"[move|bring|put|shift|drag|push] the {_BIG} {_ITEM} [to |]where [nothing is|nothing is yet|there is nothing|it is empty]",
            f"[fill|use] the [gap|empty corner|empty spot|free corner] by moving the {_BIG} [one|shape|thing] there",
        ),
        (f"relocate the {_BIG} {_ITEM} to the vacancy",),
    ),
    "odd_one_out": (
        (
            "[remove|delete|erase|get rid of|take away|drop] the [only |one |][shape|thing|one|object] that [is not|isn't] {a}",
            "[remove|delete|erase|drop] [everything|whatever|anything] that [is not|isn't] {a}",
            "[keep|leave] only the {a} [ones|things|shapes]",
            "make everything [but|except] the {a} [ones|things|shapes] [go away|disappear|vanish]",
            "[remove|delete|get rid of] the [odd one out|one with another color|one whose color is different][: all others are {a}|]",
        ),
        ("banish what fails to be {a}", "let no color but {a} remain"),
    ),
}
