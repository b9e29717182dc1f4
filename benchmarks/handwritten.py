"""Handwritten requests that follow no rule: what somebody might ask for in words and phrases that training never contained.

Grouped like those of wide English, and by kind of edit; placeholders as in `phrasings`, plus {bare} for the thing that changes without
"the", and {oldshape} for its shape.

BY_OTHERS was written last, without knowing the rules, the lessons and the other sentences.
"""

import json
from pathlib import Path

BY_OTHERS = json.loads(Path(__file__).with_name("handwritten_by_others.json").read_text(encoding="utf-8"))
HANDWRITTEN = {
    "forms": {
        "recolor": [
            "This {oldshape} of mine has always wanted to be {color}.",
            "Whatever color {x} has now, it should end with {color}.",
            "{color}. That is the color I expect {x} to have when you are done.",
            "Somebody painted {x} the wrong color, and {color} would have been right.",
            "Before you send it back to me, {x} had better be {color}.",
            "Would {color} be too much to ask for {x}?",
            "All I can think of is {x} in {color}, so do that.",
        ],
        "reshape": [
            "Let's pretend {x} was a {shape} all along.",
            "{x} is no good to me unless it is a {shape}.",
            "I am after a {shape} here, but what I got is {x}.",
            "Nobody ordered {x}; we ordered a {shape}.",
            "Same color, same place, only let {x} be a {shape}.",
        ],
        "resize": [
            "{x}: I want it {size}, and that's the end of it.",
            "Is there any reason {x} could not be {size}?",
            "Give me {x} again, {size} this time.",
            "Anything about {x} that can be {size} should be {size}.",
        ],
        "move": [
            "The {place} is empty and {x} would fit there.",
            "When I look at the {place} I want to see {x}.",
            "{x} has nothing to do where it is; the {place} is where it should go.",
            "Pick {x} and let it live at the {place}.",
            "Try the {place} for {x}.",
        ],
        "add": [
            "What this picture needs is {new}{at}.",
            "There's nothing like {new}{at}, so give us one.",
            "I keep looking for {new}{at} and there is none.",
            "My picture should also have {new}{at}.",
            "And now the last thing: {new}{at}.",
        ],
        "remove": [
            "What is {x} doing here? It should not be.",
            "I can live without {x}.",
            "Without {x} this would be perfect.",
            "The picture is better when {x} isn't there.",
            "Please see to it that {x} is not in the picture when I come back.",
            "Everything may stay except for {x}.",
        ],
        "background": [
            "Behind all of it I want {background}.",
            "{background} is the only background I accept.",
            "Let everything else be and give me {background} for the background.",
            "Could the color behind the shapes be {background} from now on?",
        ],
        "cover": [
            "Nobody should know what {x} is, so a black square has to go over it.",
            "A black square goes right where {x} is, on top of it.",
            "Keep {x} a secret with a black square.",
        ],
        "uncover": [
            "I know that behind the black square there is {new}, so take the square away.",
            "It is {new} that the black square hides; show it to me.",
            "Black square off, {new} on.",
        ],
    },
    "words": {
        "recolor": [
            "saturate {x} with {color}",
            "glorify {x} in {color}",
            "pep up {x} with {color}",
            "transmogrify {x}'s hue to {color}",
        ],
        "reshape": [
            "hammer {x} into a {shape}",
            "refurbish {x} into a {shape}",
            "coax {x} into becoming a {shape}",
            "retool {x} as a {shape}",
        ],
        "resize": [
            "render the obnoxious {bare} {size}",
            "beget a {size} version of {x}",
            "tweak the dimensions of {x} so it's {size}",
        ],
        "move": [
            "hoist {x} over to the {place}",
            "schlep {x} to the {place}",
            "park the wretched {bare} at the {place}",
            "usher {x} into the {place}",
        ],
        "add": [
            "sprout {new}{at}",
            "concoct {new}{at}",
            "bestow upon us {new}{at}",
            "manufacture {new}{at}",
        ],
        "remove": [
            "eradicate {x}",
            "zap {x} into oblivion",
            "give {x} the boot",
            "excise {x}",
            "deep-six {x}",
            "ditch the pitiful {bare}",
        ],
        "background": [
            "douse the background in {background}",
            "swathe the backdrop in {background}",
            "reupholster the background: {background}",
        ],
        "cover": [
            "occlude {x} with a black square",
            "camouflage {x} beneath a black square",
            "entomb {x} under a black square",
        ],
        "uncover": [
            "unsheathe {new} from under the black square",
            "exhume {new} from beneath the black square",
        ],
    },
    "mixed": {
        "recolor": [
            "hi there, i was hopping you could slather {color} all over {x}, many thanks in advance",
            "PLEASE BE SO GOOD AS TO TINGE {x} {color}, THE CLIENT IS WAITNG",
        ],
        "reshape": [
            "if its no trouble at all, coudl you forge {x} into a {shape}",
            "Good evening! Might you be willing to recast {x} as a {shape}? Ta",
        ],
        "resize": [
            "sorry to be a pain but {x} wants to be a tad {size}, cheers",
            "hello again, woudl you kindly get {x} to come out {size} thanx",
        ],
        "move": [
            "dear sir or madam, be so kind and ferry {x} acros to the {place}",
            "Yo can u scoot {x} ovr to the {place} rq",
        ],
        "add": [
            "hey hey, quick favor: pls whip up {new}{at}, much love",
            "I would be ever so gratefull if you could conjure {new}{at}",
        ],
        "remove": [
            "erm, could you perhaps banish {x} fromt he picture? thanks a bunch",
            "CAN YOU PLS YEET {x} OUTTA HERE",
        ],
        "background": [
            "good morning, would it be posible to drape the backgroud in {background}? kind regards",
            "hiya, my boss reckons the background ought to be {background}, sort it pls",
        ],
        "cover": [
            "if i may, please slap a black squre on {x}, its embarassing",
            "Excuse me, kindly shroud {x} with a black square thx",
        ],
        "uncover": [
            "hey could u whisk that black square away, theres {new} undr it",
            "Pardon me, would you unveil {new} that lurks behind the black square",
        ],
    },
}
