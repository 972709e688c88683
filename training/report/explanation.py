"""The section about what the net looks at."""

from __future__ import annotations

from html import escape

from emostream.render.heat_map import draw_heat_map
from emostream.render.report.html import figure, section
from training.explain.folder import ClassExamples, NetExplanation
from training.explain.map_quality import CHANCE, MapQuality
from training.report.charts import Series, line_chart
from training.report.page import grid, legend, picture, table

_TILE_PIXELS = 144
_HEADS = {"ferplus": "FER+ head", "fer2013": "challenge head", "probabilities": "the head that events carry"}


def explanation_section(explanation: NetExplanation, *, checkpoint_sha256: str | None) -> str:
    """Overlays for each class, whether the maps mean something, and the randomisation test.

    `checkpoint_sha256` is that of the model the report is about; the reader is told when the maps are of another net.
    """
    methods = list(explanation.randomisation)
    lead = (
        f"Gradient maps of the trained net ({explanation.source}; {_HEADS[explanation.head]}): where the evidence "
        "for its answer lies, over the mean of all faces it was right about and over its surest right answers. "
        "Grad-CAM is coarse; LayerCAM shows single edges."
    )
    if checkpoint_sha256 is not None and checkpoint_sha256 != explanation.checkpoint_sha256:
        lead = "These maps are of another net than the model that this report is about. " + lead
    rows = [_class_row(examples, method=method) for examples in explanation.classes for method in methods]
    return section("What the net looks at", *rows, *_quality(explanation), *_randomisation(explanation), lead=lead)


def _class_row(examples: ClassExamples, *, method: str) -> str:
    mean = draw_heat_map(examples.mean_crop, examples.mean_maps[method], size=_TILE_PIXELS)
    tiles = [figure(picture(mean, title=f"mean of {examples.num_right} faces"), "mean face")]
    for crop, saliency, probability in zip(examples.crops, examples.maps[method], examples.probabilities, strict=True):
        drawn = draw_heat_map(crop, saliency, size=_TILE_PIXELS)
        tiles.append(figure(picture(drawn, title=f"{examples.emotion} {probability:.0%}"), f"{probability:.0%}"))
    heading = f"<h3>{escape(examples.emotion)}<small>{escape(method)}, {examples.num_right:,} right</small></h3>"
    return f'<div class="faces maps">{heading}{"".join(tiles)}</div>'


def _quality(explanation: NetExplanation) -> list[str]:
    names = [entry.method for entry in explanation.quality]
    num_steps = len(explanation.quality[0].deletion_curve)
    places = ["0 %", *[""] * (num_steps - 2), "100 %"]
    charts = [
        figure(
            line_chart(
                [Series(entry.method, getattr(entry, f"{kind}_curve")) for entry in explanation.quality],
                places=places,
                x_label=label,
                title=kind,
            ),
            caption,
        )
        for kind, label, caption in (
            (
                "deletion",
                "pixels wiped out, the strongest of the map first",
                "Deletion: the sooner it falls, the truer the map",
            ),
            (
                "insertion",
                "pixels made sharp, the strongest of the map first",
                "Insertion: the sooner it rises, the truer",
            ),
        )
    ]
    rows = [
        [escape(entry.method), f"{entry.deletion:.3f}", f"{entry.insertion:.3f}", _share(entry)]
        for entry in explanation.quality
    ]
    head = ["map", "deletion ↓", "insertion ↑", "better than chance in both"]
    return [
        "<h3>Do the maps mean something?</h3>",
        f"<p>Mean probability of the answer over {explanation.num_pictures:,} pictures while pixels are taken away or "
        "brought back. Maps of chance are as smooth as real ones; the centre is the obvious guess for a face.</p>",
        legend(names),
        grid(charts, css="charts large"),
        table(head, rows),
    ]


def _share(entry: MapQuality) -> str:
    return "–" if entry.method == CHANCE else f"{entry.better_than_chance:.0%}"


def _randomisation(explanation: NetExplanation) -> list[str]:
    methods = list(explanation.randomisation)
    parts = [part.part for part in explanation.randomisation[methods[0]]]
    rows = [
        [escape(part), *(f"{explanation.randomisation[method][k].rank_correlation:.2f}" for method in methods)]
        for k, part in enumerate(parts)
    ]
    return [
        "<h3>Do they depend on what was learned?</h3>",
        "<p>The net made random step by step, from its heads to its stem: rank correlation of its maps with those of "
        "the trained net. It should fall to about 0; a method that stays alike only draws edges.</p>",
        table(["random from the end to", *methods], rows),
    ]
