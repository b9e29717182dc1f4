"""What wide English does to things: verb phrases, and what a thing should be, by kind of edit.

Every entry is (known, held out). "[a|b|]" is one of its parts, "{x}" what `names.py` and `places.py` put there; {verb} is a verb that
nobody knows, where the rest says what is meant.
"""

Phrases = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]

# In the base form, the verb first.
VERB_PHRASES: Phrases = {
    "recolor": (
        (
            "[make|turn|paint|color|colour|dye|tint|stain|shade|spray|spray-paint|tinge|render|draw] {x} {color}",
            "[make|turn|paint|color|get|tint] {x} {color}",
            "[change|switch|convert|recolor|shift|set|alter|adjust|modify|update|edit|take] {x} to {color}",
            "[change|switch|turn] {x} from {old} to {color}",
            "[change|switch|set|alter|shift|modify|convert|update] [the color of {x}|{x}'s color|the hue of {x}] to {color}",
            "[paint|color|redo|dress|drench|finish|fill|coat|cover|repaint|recolor|draw|bathe|wrap] {x} in {color}",
            "give {x} [a coat of|a layer of|some|a touch of|a splash of] {color}[ paint|]",
            "give {x} [a|the] [color|new color|tone]: {color}",
            "[fill|brush|splash|coat|cover|flood] {x} with {color}[ paint|]",
            "[replace|swap] the {old} of {x} [with|for] {color}",
            "pick {color} for {x}",
            "use {color} for {x}",
            "[swap|trade|exchange] {x}'s color for {color}",
            "recolor {x}: {color}",
            "go with {color} for {x}",
            "{verb} {x} [|to |in ]{color}",
        ),
        (
            "[pigment|daub|enamel|lacquer|varnish|hue] {x} {color}",
            "[steep|soak|clothe|cloak] {x} in {color}",
            "[transition|nudge] {x}'s color to {color}",
            "[slather|smear|wash] {x} with {color}",
        ),
    ),
    "reshape": (
        (
            "[turn|change|transform|convert|make|morph|reshape|remake|rework|form|mold|shape|redraw|remodel] {x} into {shape}",
            "[turn|change|convert|transform|morph] {x} to {shape}",
            "[replace|swap|substitute|exchange|switch|trade] {x} [with|for] {shape}",
            "[swap|switch|trade|exchange] {x} out for {shape}",
            "[change|set|switch|alter] the shape of {x} to {shape}",
            "[make|form|create|build|get] {shape} [out of|from] {x}",
            "[redraw|draw|remake|rebuild|reshape|recast|redo|render] {x} as {shape}",
            "make {x} {shape}",
            "make {x} [look like|have the shape of|be] {shape}",
            "give {x} the [shape|form|outline] of {shape}",
            "put {shape} [where {x} is|in place of {x}|in {x}'s place|instead of {x}]",
            "use {shape} instead of {x}",
            "draw {shape} instead of {x}",
            "keep the color of {x} but make it {shape}",
            "{verb} {x} into {shape}",
        ),
        (
            "[sculpt|bend|twist|reforge|refashion|whittle] {x} into {shape}",
            "[recut|reimagine|restyle] {x} as {shape}",
            "[supplant|displace] {x} with {shape}",
            "have {shape} stand in for {x}",
        ),
    ),
    "bigger": (
        (
            "[enlarge|grow|expand|magnify|upsize|inflate|increase|embiggen|widen|upscale|extend|stretch|boost|supersize] {x}",
            "[scale|blow|size|pump|beef|bump] {x} up",
            "[scale up|blow up|size up] {x}",
            "make {x} [a bit |a little |a size |somewhat |one step |slightly |]{size}",
            "[increase|boost|raise|bump up|up] the size of {x}",
            "[resize|scale|change|adjust] {x} to be {size}",
            "give {x} [more size|more room|more space|a bigger size]",
            "[make|draw|get|render|have] {x} {size}",
            "make {x} take up more [room|space]",
            "{verb} {x} [so that it is|until it's|to be] {size}",
        ),
        ("[swell|amplify|augment|biggen] {x}", "[puff|plump] {x} up", "[broaden|heighten] {x} a step"),
    ),
    "smaller": (
        (
            "[shrink|reduce|downsize|minimize|compress|miniaturize|lessen|contract|condense|downscale|decrease] {x}",
            "[scale|size|cut|bring|trim|slim|tone] {x} down",
            "[scale down|size down|shrink down] {x}",
            "make {x} [a bit |a little |a size |somewhat |one step |slightly |]{size}",
            "[reduce|decrease|lower|bring down|cut] the size of {x}",
            "[resize|scale|change|adjust] {x} to be {size}",
            "give {x} [less size|less room|less space|a smaller size]",
            "[make|draw|get|render|have] {x} {size}",
            "make {x} take up less [room|space]",
            "{verb} {x} [so that it is|until it's|to be] {size}",
        ),
        ("[dwarf|diminish|deflate|shrivel] {x}", "[whittle|pare] {x} down", "[narrow|shorten] {x} a step"),
    ),
    "move": (
        (
            "[move|shift|bring|take|drag|push|slide|send|carry|transfer|relocate|pull|get|shove|transport|haul] {x} {to}",
            "[move|shift|drag|slide|push|bump|scoot|nudge|carry] {x} over {to}",
            "[put|place|set|position|park|drop|stick|locate|plant|lay|have|plop|pop] {x} {in}",
            "[pick up {x} and|grab {x} and|take {x} and] [put|place|set|drop] it {in}",
            "[reposition|relocate|rearrange|displace] {x} {to}",
            "[make|let|have] {x} [go|move] {to}",
            "change [the position|the place|the location|the spot] of {x} to the {place}",
            "[put|place|move|send] {x} {direction}",
            "[throw|toss|jump|hop] {x} {to}",
            "{verb} {x} {to}",
        ),
        (
            "[haul|ferry|lug|chuck|fling|shuffle|steer] {x} {to}",
            "[deposit|station|situate|stow] {x} {in}",
            "[heave|roll|bounce] {x} over {to}",
        ),
    ),
    "add": (
        (
            "[add|put|place|draw|insert|include|create|paint|make|drop|stick|show|render|sketch|plop|pop|position|set] {new}{at}",
            "[throw in|toss in|put in|bring in|stick in|add in|drop in|paste in] {new}{at}",
            "[give me|get me|bring me|draw me|make me|show me] {new}{at}",
            "[introduce|generate|produce|place|provide|plant|spawn|construct|set up] {new}{at}",
            "have {new}{at}",
            "let there be {new}{at}",
            "[fill|complete|use] the picture with {new}{at}",
            "[fill|use] {empty} [with|for] {new}",
            "{verb} [in |up |]{new}{at}",
        ),
        (
            "[conjure up|whip up|summon|inject|materialize|doodle] {new}{at}",
            "[slot in|squeeze in|pencil in] {new}{at}",
            "[occupy|populate] {empty} with {new}",
        ),
    ),
    "remove": (
        (
            "[remove|delete|erase|eliminate|drop|ditch|lose|scrap|kill|clear|cut|trash|dump|discard|zap|exclude|clean up] {x}",
            "[get rid of|do away with|dispose of|throw out|throw away|cut out|wipe out|take out|take away|toss out|rub out] {x}",
            "[take|throw|cut|wipe|clear|get|move|rub|edit|leave|kick|toss|pull] {x} [out|away|off]",
            "[take|remove|cut|drop|wipe|delete|kick|clear|erase] {x} [out of the picture|from the picture|from the image|from here]",
            "make {x} [go away|disappear|vanish|go|leave]",
            "[leave|wipe|clean] no trace of {x}",
            "[leave|keep] everything [but|except|other than] {x}",
            "make the picture [not have|lose] {x}",
            "say goodbye to {x}",
        ),
        (
            "[banish|expunge|obliterate|axe|evict|nix|vaporize|jettison] {x}",
            "[weed out|root out|blot out|dispense with] {x}",
            "[whisk|chase|scrub] {x} away",
        ),
    ),
    "background": (
        (
            "[make|turn|paint|color|colour|dye|tint|shade|draw|render] {bg} {background}",
            "[change|switch|set|convert|alter|shift|update|adjust|modify] {bg} to {background}",
            "[paint|redo|fill|coat|repaint|do|color] {bg} in {background}",
            "[put|set|place|show] [everything|it all|the shapes|the whole thing|all of it|them|the picture] [on|against|over] {abg}",
            "give [it|the picture|the image|everything|the scene|me|this] {abg}",
            "[use|have|pick|choose|take|get] {background} [for|as] {bg}",
            "[replace|swap] {bg} [with|for] {abg}",
            "[fill|cover|flood] {bg} with {background}",
            "[replace|swap] the {oldbg} [with|for] {background}",
            "go with {abg}",
            "{verb} {bg} [to |in |]{background}",
        ),
        (
            "[drench|steep|deck out] {bg} in {background}",
            "[repaper|whitewash|overhaul] {bg}: {background}",
            "[lay|pose|mount] [everything|the shapes] on {abg}",
        ),
    ),
    "cover": (
        (
            "[cover|hide|conceal|block|mask|obscure|cover up|block out|censor|blot out|shield|screen] {x} with {black}",
            "[put|place|draw|stick|lay|slap|add|paint|drop|set|paste|position] {black} [over|on top of|on|in front of] {x}",
            "[hide|conceal|put|tuck|bury|keep] {x} [behind|under|beneath] {black}",
            "[censor|redact|black out|block out|cover up|mask|obscure|mask out|blank out] {x}",
            "[black|block] {x} out",
            "cover {x} up",
            "let {black} [cover|hide|block] {x}",
            "use {black} to [cover|hide|block out|mask] {x}",
            "[make|have] {black} [cover|hide|block|go over] {x}",
            "{verb} {x} [behind|under] {black}",
        ),
        (
            "[smother|shroud|cloak|blanket] {x} with {black}",
            "[overlay|superimpose|plaster] {black} on {x}",
            "[eclipse|blot|veil] {x} with {black}",
        ),
    ),
    "uncover": (
        (
            "[remove|delete|take away|erase|get rid of|clear|lift|drop|peel off] {blacksq} [and show|to show|to reveal|so we see] {new}",
            "[uncover|reveal|unhide|expose|bring back|unmask|show|uncensor] {new} [behind|under|beneath|hidden behind] {blacksq}",
            "[uncover|reveal|unhide|expose|bring back|unmask|show me|uncensor|restore] {thenew}",
            "[replace|swap] {blacksq} [with|for] {newthere}",
            "[remove|take off|lift|move away|peel off|get rid of] {blacksq}[. |, |; ][there is|there's] {new} [behind it|under it|beneath it]",
            "[take|pull|wipe|clear|get] {blacksq} [off|away from] {thenew}",
            "let [me|us] see {new} [behind|under] {blacksq}",
            "turn {blacksq} back into {newthere}",
        ),
        (
            "[unveil|lay bare|free|unwrap] {thenew} [behind|under] {blacksq}",
            "[whisk|strip|scrape] {blacksq} off {thenew}",
            "[unblock|disclose|liberate] {thenew}",
        ),
    ),
}
# Of a subject, after "should" or "to".
STATES: Phrases = {
    "recolor": (
        (
            "[be|become|turn|look|appear|go] {color}",
            "be [painted|colored|made|turned|dyed|tinted|changed to|done in|drawn in] {color}",
            "[be the color|have the color|be in|come in] {color}",
            "be {color} [instead|instead of {old}|rather than {old}|and not {old}|, not {old}]",
            "[have|get] a [new color|different color|coat of paint]: {color}",
        ),
        ("[wear|sport|show off] {color}", "be dressed in {color}", "end up {color}"),
    ),
    "reshape": (
        (
            "[be|become|turn into|look like|change into|morph into] {shape}",
            "be [replaced by|replaced with|turned into|changed to|made into|swapped for|drawn as] {shape}",
            "have the [shape|form] of {shape}",
            "be {shape} instead",
        ),
        ("[pass for|act as] {shape}", "end up as {shape}", "[take on|assume] the form of {shape}"),
    ),
    "bigger": (
        (
            "be [a bit |a little |one size |a step |somewhat |]{size}",
            "[grow|get {size}|become {size}|gain some size|take up more space]",
            "be [enlarged|scaled up|increased in size|made {size}|blown up|drawn {size}]",
        ),
        ("[swell|gain a size]", "be [upsized a notch|bulkier than now]"),
    ),
    "smaller": (
        (
            "be [a bit |a little |one size |a step |somewhat |]{size}",
            "[shrink|get {size}|become {size}|lose some size|take up less space]",
            "be [shrunk|scaled down|reduced in size|made {size}|cut down|drawn {size}]",
        ),
        ("[dwindle|drop a size]", "be [downsized a notch|less bulky than now]"),
    ),
    "move": (
        (
            "be {in}",
            "[go|move|shift|come|slide|travel|move over] {to}",
            "[sit|stand|appear|live|rest|stay|be placed|be put|be positioned|be located] {in}",
            "be [moved|shifted|brought|dragged|relocated|pushed] {to}",
            "be {in} [instead|, not where it is now|and not where it is]",
        ),
        ("[reside|perch|settle|hang out] {in}", "[migrate|head|wander] {to}", "find its home {in}"),
    ),
    "add": (
        (
            "[be|appear|show up|go|stand|sit]{at}",
            "be [added|placed|put|drawn|inserted|included|painted]{at}",
            "[be there|be in the picture|be part of this]{at}",
        ),
        ("[pop up|turn up|emerge]{at}", "join the others{at}"),
    ),
    "remove": (
        (
            "[go|go away|disappear|vanish|leave|be gone|get out of here|not be there|not be here]",
            "be [removed|deleted|erased|taken out|taken away|thrown out|cut|dropped|gotten rid of|eliminated]",
            "[not exist|no longer be there|not be in the picture|be no more|not appear anymore]",
        ),
        ("[cease to exist|make an exit|take a hike]", "be [scrubbed from the image|shown the door|done away with]"),
    ),
    "background": (
        (
            "[be|become|turn|look|go] {background}",
            "be [painted|colored|made|turned|changed to|done in|set to|filled with] {background}",
            "be {background} [instead|instead of {oldbg}|rather than {oldbg}|and not {oldbg}]",
        ),
        ("[wear|take on] {background}", "end up {background}"),
    ),
    "cover": (
        (
            "be [hidden|covered|concealed|blocked|masked|obscured|covered up] [by|with|behind|under] {black}",
            "[be|go|disappear|sit] [behind|under|beneath] {black}",
            "be [censored|redacted|blacked out|covered up|blocked out|masked out]",
            "have {black} [over it|on top of it|in front of it]",
        ),
        ("be [veiled|overlaid|smothered] with {black}", "[duck|lurk] [behind|under] {black}"),
    ),
    "uncover": (
        (
            "be [shown|revealed|uncovered|visible|seen] [without {blacksq}|instead of {blacksq}|again|, not {blacksq}]",
            "[come out|appear] from [under|behind] {blacksq}",
            "not be [hidden|covered] by {blacksq} [anymore|any longer]",
        ),
        ("[emerge|step out] from [behind|under] {blacksq}", "be freed of {blacksq}"),
    ),
}
