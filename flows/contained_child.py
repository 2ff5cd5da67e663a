"""The child process of `nhwc.flows.contained`: decodes one file after another, and gives back what is stored of it.

It reads requests from its standard input and writes answers to its standard output (`nhwc.flows.messages`). What it
imports at its start is what every file needs; TensorFlow, which takes seconds, only when a file needs that.
"""

from __future__ import annotations

import os
import resource
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from io import BytesIO
from typing import IO, Any

from nhwc.flows.child import die_with
from nhwc.flows.messages import read_message, write_message

IDLE_SECONDS = 20
"""A child that waited so long for a request ends by itself."""


_MOST_BYTES = 1 << 40

Answer = tuple[dict[str, Any], bytes | memoryview]


def main(parent: int) -> None:
    """Answer requests until there are none, none comes for long, or the parent is gone."""
    die_with(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    with open(0, "rb") as requests, open(os.dup(1), "wb") as answers:  # noqa: PTH123  descriptors
        os.dup2(2, 1)  # what C libraries print must not look like an answer
        _warm_up()
        write_message(answers, {"state": "ready"})
        while select.select([requests], [], [], IDLE_SECONDS)[0]:
            try:
                request, content = read_message(requests, most=_MOST_BYTES)
            except EOFError:
                return
            write_message(answers, *_answer(request, content, requests, answers))


def _warm_up() -> None:
    """Have an image prepared before the first is timed: on a new machine loops over pixels are compiled meanwhile."""
    from PIL import Image  # noqa: PLC0415  here begins what takes time

    from nhwc.pipelines.image import image_stages, prepare  # noqa: PLC0415
    from nhwc.pipelines.image_recipe import ImageRecipe  # noqa: PLC0415

    out, recipe = BytesIO(), ImageRecipe(rows=24, cols=24)
    Image.linear_gradient("L").convert("RGB").save(out, "bmp")
    prepare(out.getvalue(), suffix="", recipe=recipe, stages=image_stages(recipe), sample_id="")


def _answer(request: dict[str, Any], content: bytes, requests: IO[bytes], answers: IO[bytes]) -> Answer:
    _limit_memory(request["memory"])
    try:
        if request["work"] == "thumbnail":
            return _thumbnail(content)
        return _prepare(request, content, requests, answers)
    except MemoryError:
        return {"failed": "out_of_memory", "found": f"more than {request['memory'] >> 20:,} MiB"}, b""
    except Exception as error:  # whatever a file brings about, it is that file's alone
        return {"failed": "decoder_died", "found": f"{type(error).__name__}: {str(error)[:200]}"}, b""
    finally:
        _limit_memory(None)  # the next file may be larger


def _limit_memory(limit: int | None) -> None:
    """Allow so many bytes of memory of its own, or as many as there may be; the system refuses more."""
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if limit is None or most != resource.RLIM_INFINITY:
        limit = most if limit is None else min(limit, most)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def _thumbnail(content: bytes) -> Answer:
    from nhwc.pipelines.thumbnail import thumbnail_of_file  # noqa: PLC0415  only reports need it

    thumbnail = thumbnail_of_file(content)
    return {"thumbnail": None if thumbnail is None else asdict(thumbnail)}, b""


def _prepare(request: dict[str, Any], content: bytes, requests: IO[bytes], answers: IO[bytes]) -> Answer:
    from nhwc.pipelines.image import Site, complete, examine, image_stages  # noqa: PLC0415  as above
    from nhwc.pipelines.image_recipe import image_recipe_of  # noqa: PLC0415

    recipe = image_recipe_of(request["recipe"])
    examined = examine(content, suffix=request["suffix"], recipe=recipe, sample_id="")
    site = Site(alone=_when_alone(requests, answers), before_tensorflow=partial(_load_tensorflow, answers))
    prepared = complete(examined, content, recipe=recipe, stages=image_stages(recipe), sample_id="", site=site)
    said = {
        "facts": None if prepared.facts is None else asdict(prepared.facts),
        "decoder": prepared.decoder,
        "figures": None if prepared.figures is None else asdict(prepared.figures),
        "perceptual_hash": None if prepared.perceptual_hash is None else prepared.perceptual_hash.hex(),
        "notes": prepared.notes,
        "violations": [asdict(violation) for violation in prepared.violations],
    }
    return said, b"" if prepared.array is None else prepared.array.tobytes()


def _load_tensorflow(answers: IO[bytes]) -> None:
    """Import it, if that is still to be done, in time that is not the file's."""
    if "tensorflow" not in sys.modules:
        write_message(answers, {"state": "loading"})
        unneeded: dict[str, Any] = dict.fromkeys(("keras", "jax"))  # 260 MB that TensorFlow imports where it finds them
        sys.modules.update(unneeded)
        import tensorflow  # noqa: F401, PLC0415

        write_message(answers, {"state": "loaded"})


@contextmanager
def _when_alone(requests: IO[bytes], answers: IO[bytes]) -> Iterator[None]:
    """Go on when the parent says so: it has one large image decoded at a time, in all its children."""
    write_message(answers, {"state": "large"})
    read_message(requests, most=0)
    yield


if __name__ == "__main__":
    main(int(sys.argv[1]))
