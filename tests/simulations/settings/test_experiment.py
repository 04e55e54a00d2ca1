import os
import threading
from pathlib import Path
from typing import Any

import pytest

from fedssl.base import yaml_reader
from fedssl.base.config_file import ConfigError, dump, parse_yaml, validate
from fedssl.base.fields import Fields
from fedssl.modalities.image.views.crops import Crop
from fedssl.modalities.image.views.policies import POLICIES
from simulations.settings.experiment import Experiment, load_experiment

GOOD = """
data: {name: npz, train: train.npz, test: sub/test.npz}
partition: {name: dirichlet, clients: 10, alpha: 0.1}
objective: {name: simclr}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "experiment.yaml"
    path.write_text(text)
    return path


def complaint(folder: Path, text: str, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_experiment(write(folder, text), overrides)
    return str(caught.value)


def test_defaults_fill_the_rest(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD))
    assert experiment.strategy.name == "fedavg"
    assert experiment.client.local_epochs == 1


def test_paths_are_relative_to_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    data = load_experiment(write(tmp_path, GOOD), ["data.train=own.npz"]).data.model_dump()
    assert data["test"] == tmp_path / "sub" / "test.npz"
    assert data["train"] == tmp_path / "elsewhere" / "own.npz"


def test_overrides_reach_nested_and_new_fields(tmp_path: Path) -> None:
    experiment = load_experiment(
        write(tmp_path, GOOD), ["rounds=5", "client.lr=1e-3", "model.projector=[8, 4]"]
    )
    assert experiment.rounds == 5
    assert experiment.client.lr == 0.001
    assert experiment.model.projector == (8, 4)


def test_terms_are_a_list_that_is_read_as_it_is_written(tmp_path: Path) -> None:
    terms = "objective.terms=[{name: e2mc, begin: 0.9, entropy: 2.0}, {name: e-ssl}]"
    experiment = load_experiment(write(tmp_path, GOOD), [terms])
    assert [term.name for term in experiment.objective.terms] == ["e2mc", "e-ssl"]
    again = load_experiment(write(tmp_path, dump(experiment)))
    assert again.objective == experiment.objective


def test_a_name_stands_for_a_section_that_holds_nothing_else(tmp_path: Path) -> None:
    text = "data: glyphs\npartition: {name: iid, clients: 2}\nobjective: simclr\n"
    long = "data: {name: glyphs}\npartition: {name: iid, clients: 2}\nobjective: {name: simclr}\n"
    short = load_experiment(write(tmp_path, text))
    assert short == load_experiment(write(tmp_path, long))
    assert load_experiment(write(tmp_path, dump(short))) == short
    changed = load_experiment(
        write(tmp_path, text),
        ["objective=byol", "objective.momentum=0.5", "objective.terms=[e-ssl]", "engine=local"],
    )
    assert changed.objective.model_dump()["momentum"] == 0.5
    assert [term.name for term in changed.objective.terms] == ["e-ssl"]
    assert load_experiment(write(tmp_path, text), ["objective.margin=0.5"]).objective == (
        load_experiment(write(tmp_path, long), ["objective.margin=0.5"]).objective
    )


def test_a_name_in_place_of_a_section_takes_none_of_its_fields(tmp_path: Path) -> None:
    text = GOOD.replace("{name: simclr}", "{name: simclr, terms: [e-ssl]}")
    assert load_experiment(write(tmp_path, text), ["objective=byol"]).objective.terms == ()
    kept = load_experiment(write(tmp_path, text), ["objective.name=byol"]).objective.terms
    assert [term.name for term in kept] == ["e-ssl"]


def test_views_are_steps_or_the_name_of_some(tmp_path: Path) -> None:
    named = load_experiment(write(tmp_path, GOOD), ["views=byol"])
    assert named.views == POLICIES["byol"].steps
    assert load_experiment(write(tmp_path, dump(named))) == named
    own = load_experiment(write(tmp_path, GOOD), ["views=[{name: crop, scale: [0.1, 1.0]}]"])
    assert own.views == (Crop(scale=(0.1, 1.0)),)


def test_another_choice_keeps_only_the_fields_that_it_has_too(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD), ["partition.name=iid"])
    dumped = experiment.partition.model_dump()
    assert dumped["clients"] == 10
    assert "alpha" not in dumped


def test_a_dotted_path_starts_with_none_of_the_old_fields(tmp_path: Path) -> None:
    text = GOOD + "strategy: {name: ldawa, warmup_rounds: 1}\n"
    path = "flwr.serverapp.strategy.FedMedian"
    experiment = load_experiment(write(tmp_path, text), [f"strategy.name={path}"])
    shared = {"max_update_norm": None, "on_exceed": "clip"}
    assert experiment.strategy.model_dump() == {"name": path, **shared}


@pytest.mark.parametrize(
    "overrides",
    [
        {"seed": 2**63},
        {"model": {"projector": [8, 2**63]}},
        {"strategy": {"name": "a.b", "x": [2**63]}},
    ],
)
def test_whole_numbers_fit_into_64_bits_wherever_they_come_from(
    tmp_path: Path, overrides: dict[str, Any]
) -> None:
    values = {**parse_yaml(GOOD, "good"), **overrides}
    with pytest.raises(ConfigError, match="must fit into 64 bits"):
        validate(Experiment, values, base=tmp_path, source="values")


def test_a_dump_reads_back_the_same(tmp_path: Path) -> None:
    from fedssl.base.config_file import dump

    experiment = load_experiment(write(tmp_path, GOOD), ["strategy.name=ldawa-released"])
    assert load_experiment(write(tmp_path, dump(experiment))) == experiment


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rounds=0", ["rounds = 0", "greater than 0"]),
        ("rounds=2.5", ["rounds = 2.5", "integer"]),
        ("seed=-1", ["seed = -1", "greater than or equal to 0"]),
        ("participation=0", ["participation = 0", "greater than 0"]),
        ("participation=1.5", ["participation = 1.5", "less than or equal to 1"]),
        ("partition.clients=0", ["partition.clients = 0"]),
        ("partition.alpha=0", ["partition.alpha = 0", "greater than 0"]),
        ("client.lr=-0.1", ["client.lr = -0.1", "greater than or equal to 0"]),
        ("client.lr=fast", ["client.lr = fast", "number"]),
        ("client.lr=.nan", ["client.lr = nan"]),
        ("client.optimizer=sdg", ["client.optimizer = sdg", "did you mean sgd?"]),
        ("client.batch_size=1", ["client.batch_size = 1", "at least 2"]),
        ("client.batchsize=8", ["client.batchsize", "did you mean batch_size?"]),
        ("clients.lr=1", ["clients: unknown field", "did you mean client?"]),
        ("strategy.name=ldwa", ["strategy.name = ldwa", "did you mean ldawa?"]),
        ("objective.temprature=1", ["objective.temprature", "did you mean temperature?"]),
        ("objective.temperature=0", ["objective.temperature = 0", "greater than 0"]),
        ("objective.terms=[{name: e2mb}]", ["objective.terms.0.name = e2mb", "mean e2mc?"]),
        ("objective.terms=[{}]", ["objective.terms.0: needs a `name`", "e-ssl, e2mc"]),
        (
            "objective.terms=[{name: e-ssl}, {name: e2mc, entropi: 1}]",
            ["objective.terms.1.entropi: unknown field", "mean entropy?"],
        ),
        ("objective.terms=[{name: e2mc, begin: 2}]", ["objective.terms.0.begin = 2", "less than"]),
        ("objective.terms=[5]", ["objective.terms.0"]),
        ("objective.terms=e2mc", ["objective.terms = e2mc"]),
        ("model.encoder=resnet19", ["model.encoder = resnet19", "did you mean resnet1"]),
        ("model.encoder=torchvision/resnet1", ["resnet1:", "no such classifier", "did you mean"]),
        ("model.encoder=torchvision/googlenet", ["auxiliary classifiers; choose another"]),
        ("model.norm=layer", ["model.norm = layer", "batch", "group"]),
        ("model.projector=[0]", ["model.projector.0 = 0", "greater than 0"]),
        ("engine.name=remote", ["engine.name = remote", "choose one of local"]),
        ("data.std=[0.5, 0, 0.5]", ["data.std", "0"]),
        ("views=byl", ["views = byl: there is no such policy", "did you mean byol?"]),
        ("views=[{name: corp}]", ["views.0.name = corp", "did you mean crop?"]),
        ("views=[{scale: [0.5, 2]}]", ["views.0: needs a `name`", "crop, bounded-crop"]),
        ("views=[{name: crop, scale: [0.5, 2]}]", ["views.0.scale = [0.5, 2.0]", "at most 1"]),
        ("views=[{name: flip, probability: 2}]", ["views.0.probability = 2", "less than"]),
        ("views=[{name: flip}, {name: crop}]", ["views: crop comes after flip", "then crops"]),
        ("views={crop_scale: [0.5, 1]}", ["views", "must be a list"]),
        ("objective=bool", ["objective = bool: there is no such choice; did you mean byol?"]),
        ("objective=5", ["objective = 5: must be a section of fields"]),
        ("objective.terms=[e-ss]", ["objective.terms.0 = e-ss: there is no such choice", "e-ssl?"]),
        ("partition=iid", ["partition.clients: is missing"]),
        ("partition=no_such.Thing", ["partition = no_such.Thing: no module 'no_such'; install"]),
        ("partition.name=no_such.Thing", ["partition.name = no_such.Thing: no module 'no_such'"]),
        ("partition.name=a..b", ["partition.name = a..b: is not a dotted path such as"]),
        ("views=no_such.Thing", ["views = no_such.Thing: no module 'no_such'"]),
        ("views=[corp]", ["views.0 = corp: there is no such choice; did you mean crop?"]),
        ("engine=locl", ["engine = locl: there is no such choice; did you mean local?"]),
        ("engine=a.b", ["engine = a.b: there is no such choice; choose one of local"]),
        ("strategy=ldwa", ["strategy = ldwa: there is no such choice; did you mean ldawa?"]),
        ("data=glyfs", ["data = glyfs: there is no such choice; did you mean glyphs?"]),
        ("data=3", ["data = 3: must be a section of fields"]),
        ("data.name=cifar11", ["data.name = cifar11", "did you mean cifar10"]),
    ],
)
def test_impossible_values_are_named_with_a_fix(
    tmp_path: Path, override: str, words: list[str]
) -> None:
    message = complaint(tmp_path, GOOD, override)
    assert str(tmp_path / "experiment.yaml") in message
    for word in words:
        assert word in message


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    message = complaint(tmp_path, GOOD, "rounds=0", "participation=2", "client.lr=-1")
    assert "3 problems" in message


def test_epochs_and_steps_exclude_each_other(tmp_path: Path) -> None:
    message = complaint(tmp_path, GOOD, "client.local_epochs=1", "client.local_steps=5")
    assert "client.local_epochs = 1 and local_steps = 5: give one of them" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rounds: [", "not valid YAML"),
        ("", "field: value"),
        ("- 1", "field: value"),
        ("rounds: 3\nrounds: 4\n", "rounds is given twice"),
        ("objective: {}\n" + GOOD.replace("objective: {name: simclr}", ""), "needs a `name`"),
        (GOOD.replace("objective: {name: simclr}", ""), "objective: is missing"),
        (GOOD.replace("{name: simclr}", "[simclr]"), "objective = ['simclr']: must be a section"),
        (GOOD.replace("{name: simclr}", "3"), "objective = 3: must be a section of fields"),
        ("seed: 2001-99-99\n" + GOOD, "seed = 2001-99-99: must be an integer"),
        ("seed: !!int x\n", "line 1: x is no number"),
        ("seed: " + "[" * 3000, "line 1: is nested more than 32 levels deep"),
        ("a: !!python/object/apply:os.system [false]\n", "the tag !!python/object/apply:os.system"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    assert words in complaint(tmp_path, text)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("rounds", "key=value"),
        ("=3", "key=value"),
        ("rounds.deep=3", "rounds is a value"),
        ("rounds=[", "not valid YAML"),
    ],
)
def test_malformed_overrides_are_refused(tmp_path: Path, override: str, words: str) -> None:
    assert words in complaint(tmp_path, "rounds: 3\n" + GOOD, override)


@pytest.mark.parametrize("kind", ["rounds=[", "a\x1b[2J=[", "x" * 500, "a=" + "y" * 2_000_000])
def test_a_message_about_an_override_is_printable_and_short(tmp_path: Path, kind: str) -> None:
    message = complaint(tmp_path, GOOD, kind)
    assert "\x1b" not in message
    assert len(message) < 400


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lr: '0.1'", 'client.lr = "0.1": must be a number, but this is text, since it stands in'),
        ("batch_size: '5'", 'client.batch_size = "5": must be an integer, but this is text'),
        ("batch_size: '1e1'", 'client.batch_size = "1e1": must be an integer, but this is text'),
        ("nesterov: 'true'", 'client.nesterov = "true": must be true or false, but this is text'),
        ("batch_size: 010", "client.batch_size = 010: must be an integer; write 10: a leading"),
        ("batch_size: 10.0", "client.batch_size = 10.0: must be an integer; write 10"),
        ("batch_size: 2.5", "client.batch_size = 2.5: must be an integer"),
        ("batch_size: many", "client.batch_size = many: must be an integer"),
        ("batch_size: [1]", "client.batch_size = [1]: must be an integer"),
        ("batch_size:", "client.batch_size = null: must be an integer"),
        ("nesterov: 1", "client.nesterov = 1: must be true or false"),
        ("lr: 1e999", "client.lr = inf: must be a finite number"),
    ],
)
def test_a_value_of_a_wrong_kind_is_told_with_what_to_write(
    tmp_path: Path, text: str, words: str
) -> None:
    assert f"  {words}" in complaint(tmp_path, GOOD + f"client: {{{text}}}\n")


def test_no_integer_is_a_integer(tmp_path: Path) -> None:
    assert " a integer" not in complaint(tmp_path, GOOD, "rounds=x", "seed=x")


def test_whole_powers_of_ten_are_whole(tmp_path: Path) -> None:
    experiment = load_experiment(write(tmp_path, GOOD), ["rounds=1e1", "client.lr=1e1"])
    assert (experiment.rounds, experiment.client.lr) == (10, 10.0)


def test_an_option_of_a_section_that_the_file_leaves_out_reaches_its_default(
    tmp_path: Path,
) -> None:
    experiment = load_experiment(write(tmp_path, GOOD), ["engine.device=cpu"])
    assert (experiment.engine.name, experiment.engine.device) == ("local", "cpu")
    empty = write(tmp_path, GOOD + "engine:\n")
    assert load_experiment(empty, ["engine.device=cpu"]).engine.device == "cpu"
    assert "data: needs a `name`" in complaint(tmp_path, "seed: 1\n", "data.train=x")


def test_many_problems_fit_a_screen_and_choices_are_listed_once(tmp_path: Path) -> None:
    message = complaint(tmp_path, GOOD + "".join(f"key{n}: 1\n" for n in range(3000)))
    lines = message.splitlines()
    assert "3,000 problems" in lines[0]
    assert lines[1].startswith("  key0: unknown field; choose one of seed, rounds")
    assert lines[2] == "  key1: unknown field"
    assert lines[-1] == "  … and 2,980 more"
    assert len(lines) == 22


@pytest.mark.parametrize(
    "value", ["x" * 100_000, "[" + "1, " * 5000 + "1]", "{a: " + "b" * 9000 + "}"]
)
def test_a_long_value_is_cut(tmp_path: Path, value: str) -> None:
    message = complaint(tmp_path, GOOD + f"client: {{lr: {value}}}\n")
    assert "client.lr = " in message
    assert len(message) < 400


def test_what_a_terminal_would_obey_is_spelled_out(tmp_path: Path) -> None:
    text = GOOD + 'rounds: "\\e[2J[bold]"\nclient: {"l\\u202er": 1}\n'
    message = complaint(tmp_path, text)
    assert "rounds = \\x1b[2J[bold]: must be an integer" in message
    assert "client.l\\u202er: unknown field" in message


def test_a_pipe_is_read_no_longer_than_a_config_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(yaml_reader, "SECONDS", 0.1)
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match=r"pipe\.yaml: did not end within 0\.1 s; give a file"):
        load_experiment(pipe)


def test_a_pipe_and_standard_input_may_be_configs(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=(GOOD,))
    writer.start()
    assert load_experiment(pipe).objective.name == "simclr"
    writer.join()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/dev/zero", "is larger than 1 MB, so it is no config"),
        ("/dev/null", "must hold `field: value` lines"),
        ("/", "cannot be read: Is a directory"),
        ("a\0b", "is no file name"),
    ],
)
def test_what_is_no_file_is_refused(path: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load_experiment(path)


def test_no_path_has_a_nul(tmp_path: Path) -> None:
    text = GOOD.replace("train.npz", '"a\\0b"')
    assert "data.train = a\\x00b: holds a NUL character" in complaint(tmp_path, text)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read: No such file"):
        load_experiment(tmp_path / "none.yaml")


def test_the_schema_describes_every_field() -> None:
    schema = Experiment.model_json_schema()
    assert schema["properties"]["rounds"]["description"]
    assert "LDAWA" in " ".join(schema["$defs"])


def test_a_text_that_looks_like_a_number_stays_a_text() -> None:
    class Words(Fields):
        word: str

    for word in ("1e30", "1e-3", "0.1", "yes", "x", "010", "0o7", "2001-01-01", "1:30", "="):
        values = parse_yaml(dump(Words(word=word)), "words")
        assert values == {"word": word}
