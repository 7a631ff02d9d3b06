"""What the synthetic speakers say: sentences in 15 languages, made-up words in every script."""

from __future__ import annotations

import numpy as np

SENTENCES: dict[str, tuple[str, ...]] = {
    "en": (
        "The old man put a bottle of milk on the table by the window.",
        "Five brave people drove over the mountain before the storm began.",
        "Why would anybody throw away such a beautiful blue umbrella?",
        "She sells fresh vegetables and purple flowers at the village shop.",
        "Please remember to bring me both books, the thick and the thin one.",
        "My father thought about it for a while, then he laughed out loud.",
        "Quickly, jump into the boat! The water is rising faster every hour.",
        "We usually measure pleasure by the joy it gives to our children.",
    ),
    "de": (
        "Der Zug nach München fährt heute leider zwanzig Minuten später ab.",
        "Fünf fröhliche Frösche hüpfen über die Wiese bis zum Bach.",
        "Ich möchte bitte ein Stück Apfelkuchen und eine Tasse Kaffee.",
        "Warum hast du mir gestern Abend nichts von dem Problem erzählt?",
        "Die schönen Blumen blühen im Frühling vor unserem Haus.",
        "Wir müssen pünktlich sein, sonst verpassen wir das Flugzeug.",
    ),
    "fr": (
        "Le petit garçon mange une pomme verte sous un grand arbre.",
        "Pourquoi voulez-vous partir demain matin avec vos amis?",
        "Un bon vin blanc se boit frais au bord de la mer.",
        "Ma sœur habite près du feu rouge, dans une rue très étroite.",
        "Il faut que je finisse ce travail avant vingt heures.",
        "Nous avons vu beaucoup de belles fleurs jaunes en juillet.",
    ),
    "es": (
        "El perro de mi vecino ladra toda la noche y no puedo dormir.",
        "Mañana vamos a comprar pan, queso y una botella de vino.",
        "Muchas gracias por venir, ha sido un placer hablar contigo.",
        "La bicicleta roja que viste ayer era de mi hermana mayor.",
        "¿Por qué no llamas a tu abuelo antes de salir de viaje?",
        "Juan y Pablo juegan al fútbol en el parque todos los jueves.",
    ),
    "it": (
        "Buongiorno a tutti, oggi parliamo della storia di questa città.",
        "Mio fratello beve sempre un caffè prima di andare al lavoro.",
        "Che bella giornata! Andiamo a mangiare un gelato in piazza.",
        "Gli spaghetti alla bolognese sono pronti fra dieci minuti.",
        "Perché non mi hai detto che volevi partire per la montagna?",
        "La pioggia batte forte sui vetri della vecchia finestra.",
    ),
    "pt": (
        "O menino comprou um pão quente na padaria da esquina.",
        "Amanhã de manhã vamos à praia com os nossos avós.",
        "Não sei por que você ficou tão bravo com essa pergunta.",
        "A música que ouvimos ontem era muito bonita e triste.",
        "Minha mãe faz um bolo de laranja maravilhoso aos domingos.",
    ),
    "ru": (
        "Моя бабушка каждое утро пьёт чай с лимоном и мёдом.",
        "Почему ты вчера не пришёл на день рождения к Борису?",
        "Большой белый пароход медленно плывёт по широкой реке.",
        "Мы живём в маленьком доме возле старого парка.",
        "Пожалуйста, помогите мне найти ближайшую аптеку.",
    ),
    "pl": (
        "Dzień dobry, proszę bilet do Warszawy na jutro rano.",
        "Mój brat bardzo lubi grać w piłkę z przyjaciółmi.",
        "W Szczebrzeszynie chrząszcz brzmi w trzcinie.",
        "Babcia upiekła pyszne ciasto ze śliwkami i orzechami.",
    ),
    "nl": (
        "Mijn buurman fietst elke dag door weer en wind naar zijn werk.",
        "Wij gaan morgen met de boot naar een heel mooi eiland.",
        "Waarom heb je gisteren de deur niet goed dichtgedaan?",
        "De bakker verkoopt vers brood en zoete appeltaart.",
    ),
    "sv": (
        "Min mormor bor i ett litet rött hus nära sjön.",
        "Vi köper färskt bröd och smör på torget varje fredag.",
        "Varför kom du inte till festen i går kväll?",
        "Sju sjösjuka sjömän sköttes av sköna sjuksköterskor.",
    ),
    "cmn": (
        "你好，我的名字叫小明，很高兴认识你。",
        "今天天气非常好，我们一起去公园散步吧。",
        "妈妈买了苹果、葡萄和一瓶牛奶。",
        "请问，去火车站怎么走？",
        "他不但会说中文，而且会说法语和日语。",
    ),
    "ja": (
        "わたしはまいあさパンをたべて、みずをのみます。",
        "きのうはともだちといっしょにえいがをみました。",
        "すみません、えきはどこですか。",
        "ふゆのやまはゆきでまっしろになります。",
    ),
    "ar": (
        "مرحبا بكم في مدينتنا الجميلة على شاطئ البحر.",
        "ذهب الولد إلى المدرسة صباحا مع صديقه محمد.",
        "أريد أن أشرب فنجانا من القهوة من فضلك.",
        "لماذا لم تكتب لي رسالة منذ شهر؟",
    ),
    "hi": (
        "मेरा भाई हर सुबह बाज़ार से ताज़ी सब्ज़ी लाता है।",
        "आज मौसम बहुत अच्छा है, चलो बाहर घूमने चलें।",
        "कृपया मुझे एक गिलास पानी और थोड़ा खाना दीजिए।",
        "बच्चे पेड़ के नीचे बैठकर कहानी सुन रहे थे।",
    ),
    "tr": (
        "Yarın sabah erkenden otobüsle köye gideceğiz.",
        "Annem mutfakta çok güzel bir börek pişiriyor.",
        "Büyük gemi yavaş yavaş limandan uzaklaştı.",
        "Bu kitabı okumayı bitirdin mi, yoksa bana verir misin?",
    ),
}
# First letter, last letter, vowel signs: an abugida's consonants and what hangs on them.
_ABUGIDAS = {
    **dict.fromkeys(("hi", "mr", "ne", "kok"), ("क", "ह", "ािीुूेैोौ")),
    **dict.fromkeys(("bn", "as", "bpy"), ("ক", "ন", "ািীুূেৈ")),
    "gu": ("ક", "ન", "ાિીુૂેૈોૌ"),
    "pa": ("ਕ", "ਨ", "ਾਿੀੁੂੇੈੋੌ"),
    "or": ("କ", "ନ", "ାିୀୁୂେୈ"),
    "ta": ("ம", "வ", "ாிீுூெேைொோ"),
    "te": ("క", "న", "ాిీుూెేైొో"),
    "kn": ("ಕ", "ನ", "ಾಿೀುೂೆೇೈೊೋ"),
    "ml": ("ക", "ന", "ാിീുൂെേൈൊോ"),
    "si": ("ප", "ව", "ාිීුූෙේොෝ"),
    "my": ("က", "မ", "ာိုူေ"),
}
_ALPHABETS = {
    **dict.fromkeys(
        ("ru", "uk", "be", "bg", "mk", "sr", "kk", "ky", "tt", "ba", "cv", "ru-LV"),
        ("бвгджзклмнпрстфхцчш", "аеиоуяю"),
    ),
    **dict.fromkeys(("el", "grc"), ("βγδζθκλμνξπρστφχψ", "αεηιουω")),
    **dict.fromkeys(("ar", "fa", "ur", "sd", "ug"), ("بتجدرزسشفقكلمنه", "اوي")),
    "he": ("בגדזחטכלמנספצקרשת", "אוי"),
    "ka": ("ბგდვზთკლმნპჟრსტფქღყშჩცძწჭხჯჰ", "აეიოუ"),
    **dict.fromkeys(("hy", "hyw"), ("բգդզթժլխծկհձղճմյնշչպջռսվտրցփք", "աեիոու")),
    "th": ("กขคงจชดตทนบปผพฟมรลวสห", "าิีุู"),
}
_LATIN = ("bcdfghjklmnprstvwyz", "aeiou")
_CLUSTERS = ("", "", "", "", "br", "pl", "st", "fl", "gr", "tr", "sp", "kr", "bl", "sm", "fr")
# Mnemonics of eSpeak's English.
_PHONEMES = (
    "p b t d k g f v T D s z S Z tS dZ m n N l r w j h".split(),
    "a E I 0 V U i: A: O: u: 3: eI aI OI aU oU @ i@ e@".split(),
)


def sentence(rng: np.random.Generator, language: str) -> str:
    """Something to say in a language: written, counted, or made up."""
    kinds = ["numbers", "words", "words", "words"]
    base = language.partition("-")[0]
    if base in SENTENCES:
        kinds += ["written"] * 3
    if base == "en":
        kinds += ["phonemes"] * 3
    kind = str(rng.choice(kinds))
    if kind == "written":
        return str(rng.choice(SENTENCES[base]))
    if kind == "phonemes":
        return phonemes(rng)
    if kind == "numbers":
        return numbers(rng)
    made_up = [word(rng, base) for _ in range(rng.integers(5, 10))]
    pause = int(rng.integers(1, len(made_up)))
    return " ".join(made_up[:pause]) + ", " + " ".join(made_up[pause:]) + str(rng.choice([*".?!"]))


def numbers(rng: np.random.Generator) -> str:
    """A count, a time, a year and a price."""
    count, year = rng.integers(2, 1000), rng.integers(1500, 2100)
    time = f"{rng.integers(1, 24)}:{rng.integers(10, 60)}"
    price = f"{rng.integers(1, 90)}.{rng.integers(10, 99)}"
    figures = [str(count), time, str(year), price]
    return ", ".join(figures[k] for k in rng.permutation(4)[:3])


def word(rng: np.random.Generator, language: str) -> str:
    """A pronounceable word of one to four syllables in the language's script."""
    n = int(rng.integers(1, 5))
    if language in ("cmn", "yue", "hak"):
        return "".join(
            rng.choice([*"妈爸不飞发我们喝茶苹果风车鱼雨书朋友门米火水山大小明天国家走路歌舞"], n)
        )
    if language == "ja":
        return "".join(
            rng.choice(
                [
                    *"かきくけこさしすせそたちつてとなにふほまみむめもやゆよらりるれろわんばびぶべぼぱぴぷ"
                ],
                n + 1,
            )
        )
    if language == "ko":
        return "".join(chr(0xAC00 + int(k)) for k in rng.integers(0, 19 * 21, n) * 28)
    if language in ("am",):
        return "".join(
            chr(0x1200 + int(k)) for k in rng.integers(0, 7, n) + 8 * rng.integers(1, 5, n)
        )
    if language in _ABUGIDAS:
        first, last, vowels = _ABUGIDAS[language]
        letters = rng.integers(ord(first), ord(last) + 1, n)
        return "".join(chr(int(k)) + str(rng.choice([*vowels])) for k in letters)
    consonants, vowels = _ALPHABETS.get(language, _LATIN)
    syllables = [str(rng.choice([*consonants])) + str(rng.choice([*vowels])) for _ in range(n)]
    if consonants is _LATIN[0]:
        syllables = [str(rng.choice(_CLUSTERS)) or s[0] for s in syllables]
        syllables = [s + str(rng.choice([*vowels])) for s in syllables]
    end = str(rng.choice([*consonants])) if rng.random() < 0.4 and language != "th" else ""
    return "".join(syllables) + end


def phonemes(rng: np.random.Generator) -> str:
    """Nonsense words in eSpeak's own phonemes: every sound about as often as any other."""
    consonants, vowels = _PHONEMES
    words = []
    for _ in range(rng.integers(4, 9)):
        syllables = [
            str(rng.choice(consonants)) + ("'" if k == 0 else "") + str(rng.choice(vowels))
            for k in range(rng.integers(1, 4))
        ]
        words.append("[[" + "".join(syllables) + str(rng.choice(consonants)) + "]]")
    return " ".join(words)
