"""Which codec makes ordinary text of the bytes. Right text consists of frequent characters, wrong text of rare ones.

Source: import design §3 (weights and margins measured on real place names: two names and more are always right, no
false alarm in 10,793 files at a lead of 0.5). The level-1 tables are built by decoding with Python's own codecs.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache

CANDIDATES = ("utf-8", "gb18030", "cp950", "big5hkscs", "cp932", "euc_jp", "cp949", "cp1252")
# Another codec ahead by more than this contradicts the declaration.
LEAD = 0.5
SAMPLE = 256 * 1024
_SAME = {"gbk": "gb18030", "gb2312": "gb18030"}
# About 500 characters that fill half of all Chinese text, and those of addresses, departments and materials.
_SIMPLIFIED = (
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里用道行所然家种事成方多经么去法学"
    "如都同现当没动面起看定天分还进好小部其些主样理心她本前开但因只从想实日军者意无力它与长把机十民第公此已工使情明性知全三又关点正业外将"
    "两高间由问很最重并物手应战向头文体政美相见被利什二等产或新己制身果加西斯月话合回特代内信表化老给世位次度门任常先海通教儿原东声提立及"
    "比员解水名真论处走义各入几口认条平系气题活尔更别打女变四神总何电数安少报才结反受目太量再感建务做接必场件计管期市直德资命山金指克许统"
    "区保至队形社便空决治展马科司五基眼书非则听白却界达光放强即像难且权思王象完设式色路记南品住告类求据程北边死张该交规万取拉格望觉术领共"
    "确传师观清今切院让识候带导争运六七八九百千元县镇乡村街庄河湖州省江岭桥沟城新龙石林湾坪塘华宁兴永和丰阳安药房室床医护检验病诊剂片针钢"
    "板管件单价编码称号类型号男女李刘陈杨赵黄周吴徐孙胡朱高何郭罗"
)
_TRADITIONAL = (
    "這個們來為國說時會對於著過發後裡種經麼學現當沒動還進樣開從實軍無與長機關點業將兩間問並應戰頭體見產話內給門兒東聲員論處義幾認條係氣題"
    "爾別變總電數報結務場計資許統區隊決馬書則聽達強難權設記類據邊張該規萬覺術領確傳師觀讓識帶導爭運縣鎮鄉莊灣橋溝龍嶺華寧興豐陽藥醫護檢驗"
    "診劑針鋼單價編碼稱號劉陳楊趙黃吳孫羅車廠產標準環網線錄購銷貨幣臺灣"
)
# About 330 syllables that fill most of Korean text, and those of addresses, names and departments.
_KOREAN = (
    "이다는의에을가고하를은지로한도사기서어리자인아나시대일그정해수들전보있부여제과주장원만면성계상것년구스조공생연유동경무선비적신위라용문교소세오관우실중국치"
    "안방진통행체발역분내모회간명민영화재물미학운업식단품현당두강남양산거설개감결법북속알마네호람때바른최금종권점건터차준토표청환반등출각열타월노투임술형될력심근"
    "입석복별님합약색살러번증활평택했음저말몸불길군포육십백천읍울인광주충울처확규직번및항목절급출료본병병호간약원실과외내과응급환자의료검사처방제품단위코드이름담"
    "당부서팀장대리사번전화주소우편번호판매구매창고재고수량단가금액합계비고김박최정강조윤장임한오서신권황안송류홍고문양손배백허남심노하곽성차주우구민나엄채원천"
    "를습니까요게없같많좋크작높낮새옛끝첫또더덕돈돌래례록론류르름립막망매맥머먼멀메몇못무묵문밀박밖받발밤방배버벌벽변볼봉뿐뒤달담답닭태풍플피필향허험협홀효후훈휴흥희힘"
)


def _levels(codec: str, leads: range, trails: list[range]) -> frozenset[str]:
    pairs = (bytes((lead, trail)) for lead in leads for part in trails for trail in part)
    return frozenset(pair.decode(codec, "ignore") for pair in pairs) - {""}


@dataclass(frozen=True)
class _Lists:
    frequent: frozenset[str]
    level: frozenset[str]


@cache
def _lists(codec: str) -> _Lists:
    high = [range(0xA1, 0xFF)]
    gb = _levels("gb2312", range(0xB0, 0xD8), high)
    big5 = _levels("cp950", range(0xA4, 0xC7), [range(0x40, 0x7F), range(0xA1, 0xFF)])
    jis = _levels("euc_jp", range(0xB0, 0xD0), high)
    korean = frozenset(_KOREAN)
    simplified, traditional = frozenset(_SIMPLIFIED), frozenset(_TRADITIONAL)
    old = traditional | (simplified & big5)
    return {
        "gb18030": _Lists(simplified | traditional, gb | big5),
        "cp950": _Lists(old, big5),
        "big5hkscs": _Lists(old, big5),
        "cp932": _Lists(frozenset(), jis),
        "euc_jp": _Lists(frozenset(), jis),
        "cp949": _Lists(korean, frozenset()),
    }.get(codec) or _Lists(simplified | traditional, gb | big5 | jis)


def score(codec: str, text: str) -> float:
    """Mean weight of the non-ASCII characters of ``text``, as ``codec`` decoded it; 0 when there are none."""
    counted = Counter(text)
    for one in [one for one in counted if one < "\x80"]:
        del counted[one]
    total = sum(counted.values())
    if not total:
        return 0.0
    lists = _lists(codec)
    value = sum(_weight(codec, one, lists) * times for one, times in counted.items())
    if codec == "cp1252":
        value -= 3 * sum(len(run) for run in re.findall(r"[^\x00-\x7f]{2,}", text))
    return value / total


def _weight(codec: str, one: str, lists: _Lists) -> float:
    code = ord(one)
    if one in lists.frequent:
        return 3
    if 0x4E00 <= code <= 0x9FFF:
        if codec == "cp949":
            return -1  # Korean files hardly hold Chinese characters; Chinese ones read as Korean are full of them
        return 1 if one in lists.level else -2
    if 0xE000 <= code <= 0xF8FF or code >= 0xF0000 or code == 0xFFFD:
        return -4
    if 0x3400 <= code <= 0x4DBF or 0x20000 <= code <= 0x3FFFF:
        return -1
    if code < 0xA0:
        return -5
    if 0xFF61 <= code <= 0xFF9F:
        return -2.5
    if 0x3040 <= code <= 0x30FF:
        return 2.2 if codec in ("cp932", "euc_jp") else -1
    if 0x3000 <= code <= 0x3020 or 0xFF01 <= code <= 0xFF5E:
        return 0.5
    if 0xAC00 <= code <= 0xD7A3:
        return 0.3
    if code < 0x250:
        return (1.2 if one.isalpha() else -1.5) if codec == "cp1252" else -1
    return -1.5


def scores(sample: bytes) -> dict[str, float]:
    """Score of every candidate that decodes the sample strictly, best first. UTF-8 with a three-byte character wins
    outright: two-byte readings happen by accident (``男`` in GBK is valid UTF-8), three-byte ones do not.
    """
    found = {}
    for codec in CANDIDATES:
        try:
            text = sample.decode(codec)
        except UnicodeDecodeError:
            continue
        if codec == "utf-8":
            if any(one >= "\u0800" for one in text):
                return {codec: 9.0}
            continue
        found[codec] = score(codec, text)
    return dict(sorted(found.items(), key=lambda one: (-round(one[1], 6), CANDIDATES.index(one[0]))))


def scored_as(codec: str) -> str:
    """The candidate that stands for a codec: GBK and GB2312 are parts of GB18030."""
    return _SAME.get(codec, codec)
