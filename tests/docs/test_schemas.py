"""The files of docs/schemas: what the code says, types that a compiler takes, schemas that fit the examples."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from docs.generators.schemas import FOLDER, asyncapi, schema_files, typescript_text
from emostream.wire.keys import STATUS_KEY, SUMMARIES_KEY, VOICE_KEY, events_key
from tests.conftest import REPOSITORY
from tests.schema_check import kind_of

NAMES = {"emotion": "EmotionEvent", "status": "StatusEvent", "summary": "SummaryEvent", "voice": "VoiceEvent"}


def examples() -> dict[str, Any]:
    """Type → an example from the documentation."""
    blocks = re.findall(r"```json\n(.*?)```", (REPOSITORY / "docs/events.md").read_text(encoding="utf-8"), re.DOTALL)
    return {NAMES[kind_of(content)]: content for content in reversed([json.loads(block) for block in blocks])}


def test_the_files_are_what_the_code_says() -> None:
    wanted = schema_files()
    assert {path.name for path in FOLDER.iterdir()} == set(wanted)
    for name, text in wanted.items():
        kept = (FOLDER / name).read_text(encoding="utf-8")
        assert kept == text, "mind the rule in docs/events.md, then `python -m docs.generators.schemas`"


@pytest.mark.slow  # the compiler reads its own library first
@pytest.mark.integration
def test_typescript_takes_the_examples_and_refuses_others(tmp_path: Path) -> None:
    compiler = shutil.which("tsc")
    if compiler is None:
        pytest.skip("needs TypeScript: run tests/install-debian-packages.sh")
    found = examples()
    assert set(found) == set(NAMES.values())
    (tmp_path / "events.ts").write_text(typescript_text(), encoding="utf-8")
    lines = [f'import {{ {", ".join([*found, "Face"])} }} from "./events";']
    lines += [f"export const a{name}: {name} = {json.dumps(example)};" for name, example in found.items()]
    lines += [
        "export const face: Face = aEmotionEvent.faces[0];",
        "export const width: number = face.box_xyxy[2] - face.box_xyxy[0];",
        'export const happy: number | undefined = face.probabilities["happy"];',
        *("// @ts-expect-error the box has four numbers", "export const five = face.box_xyxy[4];"),
        *("// @ts-expect-error the track may be null", "export const id: number = face.track_id;"),
        *("// @ts-expect-error no such field", "export const mood = face.mood;"),
        *("// @ts-expect-error landmarks may be absent", "export const eye: [number, number] = face.landmarks[0];"),
    ]
    (tmp_path / "use.ts").write_text("\n".join(lines), encoding="utf-8")
    command = [compiler, "--noEmit", "--strict", "--target", "es2020", "--module", "commonjs", "use.ts"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout


def test_the_channels_are_the_keys() -> None:
    channels = asyncapi()["channels"]
    assert {name: channel["address"] for name, channel in channels.items()} == {
        "emotion": events_key("{streamId}"),
        "status": STATUS_KEY,
        "summary": SUMMARIES_KEY,
        "voice": VOICE_KEY,
    }


def test_every_reference_leads_somewhere() -> None:
    document = asyncapi()
    references = re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))
    assert references
    for reference in references:
        place = document
        for part in reference.split("/"):
            place = place[part]


@pytest.mark.parametrize("name", NAMES.values())
def test_payloads_are_schemas_of_draft_7_that_fit_the_examples(name: str) -> None:
    document = asyncapi()
    schema = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    for definition in document["components"]["schemas"].values():
        jsonschema_rs.meta.validate({"$schema": "http://json-schema.org/draft-07/schema#", **definition})
    validator = jsonschema_rs.Draft7Validator(schema)
    example = examples()[name]
    validator.validate(example)
    for field in example:
        if field in document["components"]["schemas"][name]["required"]:
            assert not validator.is_valid({other: value for other, value in example.items() if other != field})
    if name == "EmotionEvent":
        assert not validator.is_valid(example | {"faces": [example["faces"][0] | {"box_xyxy": [1, 2, 3, 4, "5"]}]})
        assert not validator.is_valid(example | {"faces": [example["faces"][0] | {"box_xyxy": ["1", 2, 3, 4]}]})
