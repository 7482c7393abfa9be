"""The words of the made-up world in which nano grows up and its recipes play."""

from __future__ import annotations

import random

STATES = tuple(
    """idle ready running stopped paused waiting active closed open locked unlocked empty full
    loading loaded failed done error started finished pending approved rejected drafted shipped
    delivered returned packed sorted scanned queued blocked sleeping awake connected disconnected
    online offline heating cooling warm cold dry wet clean dirty charging charged drained broken
    fixed tested booked cancelled confirmed paid refunded expired archived deleted restored frozen
    thawed parked moving turning landing flying docked armed disarmed alert quiet silent ringing
    answered muted recording playing rewinding ejected mounted attached detached bound free busy
    assigned escalated resolved reopened reviewed merged deployed built compiled linked parsed
    indexed cached synced stale fresh planted growing ripe harvested milled baked sliced served
    eaten washed folded ironed hung stored lent borrowed lost found hired trained promoted retired
    absent present seated standing walking jumping falling climbing resting hidden visible lit dark
    green amber red blue solid liquid vapour plasma boiling melting stirred poured filled capped
    labelled sealed opened tasted drilled cut bent welded painted polished inspected stamped coated
    wrapped staged routed dropped delayed early late""".split()
)
EVENTS = tuple(
    """start stop pause resume open close lock unlock press release push pull turn insert remove
    load unload send receive submit approve reject cancel confirm pay refund ship deliver return
    scan pack sort queue block wake sleep connect disconnect heat cool wash dry charge drain break
    fix test book expire archive delete restore freeze thaw park move land fly dock arm disarm ring
    answer mute record play rewind eject mount attach detach bind free assign escalate resolve
    reopen review merge deploy build compile link parse index cache sync refresh plant grow harvest
    mill bake slice serve eat fold iron hang store lend borrow lose find hire train promote retire
    sit stand walk jump fall climb rest hide show light boil melt stir pour fill cap label seal
    taste drill cut bend weld paint polish inspect stamp coat wrap stage route drop delay timeout
    reset retry abort skip call sign vote""".split()
)
NOUNS = tuple(
    """door valve pump motor lamp robot printer order parcel ticket invoice account user guest
    patient student teacher nurse pilot driver train plane ship truck car bike bus tram lift gate
    bridge tunnel crane drill oven fridge kettle toaster washer dryer heater fan sensor alarm clock
    timer camera phone radio screen disk file folder page book letter note form card coin token key
    badge server client router switch cable socket packet frame queue stack buffer cache table row
    column index record field job task worker thread process session request response report budget
    project product batch sample probe filter tank pipe boiler furnace garden tree flower seed crop
    barn horse cow sheep dog cat bird fish river lake hill road street house room wall roof floor
    window desk chair shelf box bag cup plate spoon knife bottle glass bread cake soup apple lemon
    onion pepper salt sugar""".split()
)

_SYLLABLES = tuple(
    """ba be bi bo bu ca co da de di do fa fe fi fo ga go ha he hi ho ka ke ki ko la le li lo ma me
    mi mo na ne ni no pa pe pi po ra re ri ro sa se si so ta te ti to va ve vi vo za zo
    zu""".split()
)


def made_up(r: random.Random) -> str:
    """A word that nobody has seen, of two or three syllables."""
    stem = "".join(r.choice(_SYLLABLES) for _ in range(r.randint(2, 3)))
    return stem + r.choice(("", "n", "r", "s", "l"))
