"""Every recipe reads its lines of the shared manifests and finds what its corpus can have wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.config import HeadConfig
from tests.training.corpora.builders import line, segment, write_lines
from training.corpora import crema_d, emodb, emospeech_in, noise, ravdess
from training.corpora.errors import CorpusError, LabelError, ManifestError, SplitError
from training.corpora.labels import CORPUS_CATEGORIES, EVALUATION_ONLY, target
from training.corpora.recipe import AUDIOVISUAL, LABELLED, NOISE, UNLABELLED
from training.corpora.registry import REGISTRY, describe, prepare_corpora

_NAMES = {
    "ravdess": ("03-01-02-01-01-01-01", "calm"),
    "crema_d": ("1001_DFA_HAP_XX", "happy"),
    "emodb": ("03a01Wa", "angry"),
    "nemo": ("EB0_sadness_1", "sad"),
    "ased": ("S1-01-01-01-01", "sad"),
    "turev": ("1157_kz_acik", "angry"),
    "tess": ("OAF_back_ps", "surprise"),
    "emospeech_in": ("unknown_help_fear_e9", "fear"),
}
"""One real file name of each labelled corpus and what it means."""


def _labelled(corpus: str, **changes: Any) -> dict[str, Any]:
    name, emotion = _NAMES[corpus]
    split = "cross" if corpus == "emodb" else "train"
    speaker = f"{corpus}:{'unknown' if corpus == 'emospeech_in' else '1'}"
    fields = {"corpus": corpus, "id": f"{corpus}/{name}", "path": f"{corpus}/{name}.opus", "speaker": speaker}
    return line(**(fields | {"emotion": emotion, "split": split} | changes))


def _other(corpus: str) -> dict[str, Any]:
    changes: dict[str, Any] = {"corpus": corpus, "id": f"{corpus}/1", "speaker": f"{corpus}:1"}
    if corpus == "noise":
        changes = {"corpus": ..., "speaker": ..., "id": "music/1", "kind": "music"}
    if corpus == "baved":
        changes["arousal"] = "high"
    if corpus.endswith("_av"):
        changes |= {"fps": 25, "width": 96, "height": 96}
    return line(emotion=None, **changes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Shared manifests with one clip of every corpus."""
    by_manifest: dict[str, list[Any]] = {name: [] for name in (LABELLED, UNLABELLED, NOISE, AUDIOVISUAL)}
    for name, recipe in REGISTRY.items():
        by_manifest[recipe.facts.manifest].append(_labelled(name) if name in _NAMES else _other(name))
    for name, lines in by_manifest.items():
        write_lines(tmp_path / name, lines)
    _votes(tmp_path, "crema_d/1001_DFA_HAP_XX,0,0,0,3,6,1,male")
    return tmp_path


def _votes(root: Path, *rows: str, head: str = "id,angry,disgust,fear,happy,neutral,sad,sex") -> None:
    (root / "crema_d").mkdir(exist_ok=True)
    (root / crema_d.VOTES_FILE).write_text("".join(row + "\n" for row in (head, *rows)))


@pytest.mark.parametrize("name", REGISTRY)
def test_every_recipe_gives_its_own_clips(root: Path, name: str) -> None:
    """One verb, whatever the corpus; a labelled one has categories, others have none."""
    (clip,) = REGISTRY[name].prepare(root)
    assert clip.corpus == name == REGISTRY[name].facts.name
    assert (target(clip) is not None) is (name in CORPUS_CATEGORIES)


def test_registry_and_label_space_agree() -> None:
    """Every corpus with categories has a recipe that reads the labelled manifest, and the reverse."""
    labelled = {name for name, recipe in REGISTRY.items() if recipe.facts.manifest == LABELLED}
    assert labelled == set(CORPUS_CATEGORIES)
    assert set(REGISTRY) >= EVALUATION_ONLY


@pytest.mark.parametrize("name", _NAMES)
def test_a_label_that_contradicts_the_file_name_is_refused(root: Path, name: str) -> None:
    """Shuffled columns do not pass."""
    wrong = "neutral" if _NAMES[name][1] != "neutral" else "sad"
    write_lines(root / LABELLED, [_labelled(name, emotion=wrong)])
    with pytest.raises(ManifestError, match=f"its line '{wrong}'"):
        REGISTRY[name].prepare(root)


def test_a_name_without_a_code_is_refused(root: Path) -> None:
    """A file that is not of the corpus is named."""
    write_lines(root / LABELLED, [_labelled("ravdess", id="ravdess/hello")])
    with pytest.raises(ManifestError, match="'ravdess/hello': no label code"):
        ravdess.prepare(root)


def test_crema_d_gets_votes_and_sex(root: Path) -> None:
    """Listeners' counts come from the CSV beside the clips."""
    (clip,) = crema_d.prepare(root)
    assert clip.votes == {"angry": 0, "disgust": 0, "fear": 0, "happy": 3, "neutral": 6, "sad": 1}
    assert clip.sex == "male"


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("a,0,0,0,x,6,1,male", ":2: votes must be counts"),
        ("a,0,0,0,-3,6,1,male", ":2: votes must be counts"),
        ("a,0,0,0,0,0,0,male", ":2: votes must be counts"),
        ("a,0,0", ":2: votes must be counts"),
        ("a,0,0,0,3,6,1,robot", ":2: sex must be male or female"),
        ("a,0,0,0,3,6,1,male\na,0,0,0,3,6,1,male", ":3: duplicate id 'a'"),
        ("a,0,0,0,3,6,1,male", "no votes for clip 'crema_d/1001_DFA_HAP_XX'"),
    ],
)
def test_bad_votes_are_named(root: Path, row: str, problem: str) -> None:
    """By file and line, like a manifest."""
    _votes(root, row)
    with pytest.raises(ManifestError, match=r"votes\.csv") as caught:
        crema_d.prepare(root)
    assert problem in str(caught.value)


def test_votes_need_their_file_and_columns(root: Path) -> None:
    """Their absence is not taken for a corpus without votes."""
    _votes(root, head="id,angry,sex")
    with pytest.raises(ManifestError, match="missing columns: disgust, fear"):
        crema_d.prepare(root)
    (root / crema_d.VOTES_FILE).unlink()
    with pytest.raises(ManifestError, match="cannot be read"):
        crema_d.prepare(root)


def test_emodb_stays_out_of_training(root: Path) -> None:
    """A manifest that puts it anywhere else is refused."""
    write_lines(root / LABELLED, [_labelled("emodb", split="train")])
    with pytest.raises(SplitError, match="evaluation only"):
        emodb.prepare(root)


def test_the_crowd_is_marked_and_stays_in_train(root: Path) -> None:
    """No baseline of a speaker may be taken from many people under one name."""
    (clip,) = emospeech_in.prepare(root)
    assert clip.extra == {"crowd": True}
    write_lines(
        root / LABELLED,
        [_labelled("emospeech_in", speaker="emospeech_in:1", id="emospeech_in/1_help_fear_1")],
    )
    assert emospeech_in.prepare(root)[0].extra == {}
    write_lines(root / LABELLED, [_labelled("emospeech_in", split="test")])
    with pytest.raises(SplitError, match="many people"):
        emospeech_in.prepare(root)


@pytest.mark.parametrize(
    ("kind", "role", "mixable", "not_speech"),
    [
        ("music", noise.Role.MUSIC, False, True),
        ("ivr_prompt", noise.Role.IVR_PROMPT, False, True),
        ("nonverbal_crying", noise.Role.NONVERBAL, False, False),
        ("background_metro", noise.Role.BACKGROUND, True, True),
        ("ambient_cafe", noise.Role.AMBIENT, True, True),
    ],
)
def test_noise_has_roles(kind: str, role: noise.Role, mixable: bool, not_speech: bool) -> None:
    """Ambience and backgrounds may be mixed in; all but what people utter is an example of what is not scored."""
    found = noise.role(segment(kind=kind))
    assert (found, found.mixable, found.not_speech) == (role, mixable, not_speech)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("music", "music"),
        ("ivr_prompt", "prompt"),
        ("background_metro", "noise"),
        ("ambient_keyboard", "noise"),
        ("nonverbal_laughing", "laughter"),
        ("nonverbal_yawning", "sigh"),
        ("nonverbal_sneezing", "cough"),
        ("nonverbal_throat_clearing", "cough"),
        ("nonverbal_teeth_grinding", "noise"),
        ("nonverbal_humming", "other_vocal"),
    ],
)
def test_every_kind_is_a_sound_of_the_head(kind: str, name: str) -> None:
    """What people utter has its name, what lips and teeth do is noise; the head knows all that have a name."""
    assert noise.sound(kind) == name
    assert name in (*HeadConfig().sounds, "other_vocal")


def test_a_sound_of_unknown_kind_is_refused() -> None:
    """As with roles."""
    with pytest.raises(LabelError, match="unknown kind of noise 'hum'"):
        noise.sound("hum")


@pytest.mark.parametrize("kind", ["musical", "hum", None])
def test_unknown_noise_is_refused(kind: str | None) -> None:
    """A new kind needs a role before it is used."""
    with pytest.raises(LabelError, match="unknown kind of noise"):
        noise.role(segment(kind=kind))


def test_several_corpora_are_read_in_the_order_of_their_names(root: Path) -> None:
    """Runs repeat whatever the registry's order."""
    assert [clip.corpus for clip in prepare_corpora(root, ["tess", "ravdess"])] == ["tess", "ravdess"]


def test_unknown_and_empty_corpora_are_named(root: Path) -> None:
    """A typing error in a config does not train on less than meant."""
    with pytest.raises(CorpusError, match="unknown corpus radvess; known: ravdess"):
        prepare_corpora(root, ["radvess"])
    write_lines(root / UNLABELLED, [_other("ami")])
    with pytest.raises(CorpusError, match="no clip of corpus 'baved'"):
        prepare_corpora(root, ["baved"])


def test_describe_counts_what_a_card_needs() -> None:
    """Shared corpora bring their licence, an own one is its owner's, an unused one is left out."""
    clips = [
        segment(duration_s=1800.0),
        segment(id="2", duration_s=1800.0),
        segment(corpus="site", speaker="site:a", language="fr"),
        segment(corpus="tess"),
    ]
    first, second = describe(clips, {"ravdess": "training", "site": "test"})
    assert (first["name"], first["clips"], first["speakers"], first["hours"]) == ("ravdess", 2, 1, 1.0)
    assert (first["licence"], first["used_for"]) == ("CC BY-NC-SA 4.0", "training")
    assert (second["name"], second["licence"], second["language"]) == ("site", "the owner's", "fr")
