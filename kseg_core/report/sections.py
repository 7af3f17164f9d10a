"""The parts of the page, from a report's plain values."""

from __future__ import annotations

from collections.abc import Sequence

from . import charts
from .content import ClusterRow, Painted, Report, ShownImage, Sweep
from .markup import bar, hex_of, key_of, percent, picture, plain, section, swatch, table
from .ranking import outlier_fence

FEW_ROWS = 12  # of a table that stands open beside its chart
METER = '<span class="narrow-off"></span>'  # the heading of bars, which phones have no room for


def area(square_metres: float | None) -> str:
    """An area in the unit that suits it: square kilometres, metres, millimetres or micrometres."""
    if square_metres is None:
        return "–"
    for size, unit in ((1e6, "km²"), (1e-2, "m²"), (1e-8, "mm²")):
        if square_metres >= size:
            scaled = square_metres / {"km²": 1e6, "m²": 1.0, "mm²": 1e-6}[unit]
            return f"{scaled:,.4g} {unit}" if scaled < 1e4 else f"{scaled:,.0f} {unit}"
    return f"{square_metres * 1e12:,.4g} µm²"


def hero(report: Report) -> str:
    """The palette of all images, large."""
    if not report.clusters:
        return ""
    colors = [cluster.color for cluster in report.clusters]
    shares = [cluster.share for cluster in report.clusters]
    return f'<div class="hero">{bar(colors, shares, "Palette of all images", large=True)}</div>'


def warnings(report: Report) -> str:
    """What a reader must know first."""
    items = [f"<li>{plain(line)}</li>" for line in report.warnings]
    if report.failures:
        rows = "".join(f"<li>{plain(source)}: {plain(reason)}</li>" for source, reason in report.failures)
        n = len(report.failures)
        what = "1 input could not be read" if n == 1 else f"{n:,} inputs could not be read"
        items.append(
            f"<li><details{' open' if n <= 10 else ''}><summary>{what}</summary><ul>{rows}</ul></details></li>"
        )
    if not items:
        return ""
    content = f'<h2 id="warnings-title">Please note</h2><ul>{"".join(items)}</ul>'
    return f'<section class="warning" id="warnings" aria-labelledby="warnings-title">{content}</section>'


def clusters(report: Report) -> str:
    """The table of clusters."""
    if not report.clusters:
        about = "Each image has a palette of its own; they are below, with the pictures."
        return section("clusters", "Clusters", about, "")
    known = any(cluster.area is not None for cluster in report.clusters)
    top = max((cluster.share for cluster in report.clusters), default=0) or 1.0
    head = [("Cluster", False), ("Colour", False), ("Share", True), (METER, False), ("Pixels", True)]
    head += [("Area", True)] if known else []
    head += [("Spread", True), ("In images", True)]
    rows = []
    for j, cluster in enumerate(report.clusters):
        row = [swatch(cluster.color, j), f'<span class="hex">{hex_of(cluster.color)}</span>', percent(cluster.share)]
        row += [_meter(cluster, top), f"{cluster.pixels:,}"]
        row += [area(cluster.area)] if known else []
        row += ["–" if cluster.spread is None else f"{cluster.spread:.4g}", f"{cluster.images:,}"]
        rows.append(row)
    about = (
        "A cluster's colour is the mean of its pixels. Its spread is the root of the mean squared distance of pixels "
    )
    about += "to the centroid, in feature units"
    if report.looked_at:
        about += f", worked out from {report.looked_at:,} pixels taken evenly from the pictures shown"
    measured = sum(image.facts.pixel_area is not None for image in report.images)
    if 0 < measured < len(report.images):
        about += f". The area is that in the {measured:,} images whose pixels have a known size"
    content = table(head, rows, "1 cluster" if len(rows) == 1 else f"{len(rows):,} clusters, by number")
    return section("clusters", "Clusters", f"{about}.", f'<div class="panel">{content}</div>')


def _meter(cluster: ClusterRow, top: float) -> str:
    return f'<span class="meter" aria-hidden="true"><i style="width:{100 * cluster.share / top:.2f}%"></i></span>'


def images(report: Report, columns: Sequence[tuple[str, bool, str]]) -> str:
    """The pictures, and the table of all images; ``columns`` are (title, is a number, what it means)."""
    total, shown = len(report.images), len(report.shown)
    about = "The farthest from the average come first: those whose clusters have other shares than in the mean of all "
    about += "images, or whose error is larger or smaller than that of all."
    if not report.clusters:
        about = "Those whose error differs most from that of all images come first."
    if total == 1:
        about = ""
    if shown < total:
        about += f" Pictures of {shown:,} of {total:,} images are here: outliers, and an even choice of the others."
    tools = (
        '<div class="tools" role="search"><label><span class="label">Search images by name</span>'
        '<input type="search" id="search" placeholder="Search images by name" autocomplete="off"></label>'
        '<output id="found" for="search"></output></div>'
    )
    fence = outlier_fence(report.images)
    cards = "".join(card(image, total, image.ranked.farness > fence) for image in report.shown)
    more = '<p class="more" id="more-cards" hidden><button class="button" type="button">Show more</button></p>'
    pictures = f'<div class="cards">{cards}</div>{more if cards else ""}'
    heads = "".join(
        f'<th scope="col"{_sorted(at)} class="{"n" if number else ""}" title="{plain(meaning)}">'
        f'<button type="button">{plain(title)}</button></th>'
        for at, (title, number, meaning) in enumerate(columns)
    )
    content = (
        f'<div class="panel" id="all-images"><h3>All images</h3>'
        '<p class="hint">A heading sorts by its column; names lead to the pictures.</p>'
        f'<div class="scroll"><table id="images" aria-label="All images">'
        f'<thead><tr>{heads}</tr></thead><tbody id="rows"></tbody></table></div>'
        '<p class="more" id="more-rows" hidden><button class="button" type="button">Show more</button></p>'
        "<noscript>The table needs JavaScript; its numbers are also in the store.</noscript></div>"
    )
    return section("pictures", "Images", about, tools + pictures + content)


def _sorted(at: int) -> str:
    return ' aria-sort="ascending"' if at == 0 else ""


def card(image: ShownImage, total: int, is_outlier: bool) -> str:
    """One image: its pictures, its palette, what is special."""
    facts = image.ranked.facts
    name = plain(facts.name)
    pictures = []
    if image.original is not None:
        pictures.append(picture(image.original, f"{facts.name}, original", "original"))
    elif image.lost:
        lost = f'<div class="lost">No original: {plain(image.lost)}</div>'
        pictures.append(f"<figure>{lost}<figcaption>original</figcaption></figure>")
    pictures.append(picture(image.segmented, f"{facts.name}, segmented into {len(facts.counts)} colours", "segmented"))
    if image.edges is not None:
        pictures.append(picture(image.edges, f"{facts.name}, edges", "edges"))
    height, width = facts.shape
    notes = [f"{width:,} × {height:,}"]
    if facts.mse is None:
        notes.append("no valid pixel")
    else:
        notes.append(f"mse {facts.mse:,.4g}")
        if image.ranked.ratio is not None and total > 1:
            notes.append(f"{image.ranked.ratio:.2f} × that of all")
        if image.ranked.distance is not None and total > 1:
            notes.append(f"{percent(image.ranked.distance)} from the mean shares")
    if facts.invalid and facts.mse is not None:
        notes.append(f"{percent(facts.invalid / (facts.invalid + facts.valid))} invalid")
    tag = '<span class="tag">outlier</span>' if is_outlier else ""
    return (
        f'<article class="card" id="i-{plain(facts.key)}" data-text="{plain(search_text(facts.name, facts.key))}">'
        f'<div class="head"><h3 title="{plain(facts.source)}">{name}</h3>{tag}</div>'
        f'<div class="pair">{"".join(pictures)}</div>'
        f"{bar(facts.colors, facts.shares, 'Shares')}{key_of(facts.colors, facts.shares)}"
        f'<p class="meta">{" · ".join(notes)}</p></article>'
    )


def search_text(source: str, key: str) -> str:
    """What the search box looks in."""
    return f"{source} {key}".lower()


def masks(report: Report) -> str:
    """Small multiples: each cluster of a few images alone."""
    chosen = [image for image in report.shown if image.masks]
    if not chosen:
        return ""
    rows = []
    for image in chosen:
        facts = image.ranked.facts
        tiles = "".join(
            picture(
                file,
                f"{facts.name}, mask of cluster {j}",
                f'{swatch(facts.colors[j], j)} <span class="hex">{hex_of(facts.colors[j])}</span> '
                f"{percent(facts.shares[j])}",
            )
            for j, file in image.masks
        )
        if image.original is not None:
            tiles = picture(image.original, f"{facts.name}, original", "original") + tiles
        rows.append(f'<div class="row"><h3>{plain(facts.name)}</h3><div class="multiples">{tiles}</div></div>')
    about = (
        "Each cluster alone: white is inside. The images nearest the average are shown, with their largest clusters."
    )
    return section("masks", "Masks", about, f'<div class="panel">{"".join(rows)}</div>')


def sweep(found: Sweep | None, painted: Painted | None, elbow: bytes | None) -> str:
    """The elbow, and one picture with several k."""
    if found is None:
        if elbow is None:
            return ""
        figure = picture(elbow, "The elbows of all images, and how often each k was chosen", "each image alone")
        about = "Each image was swept alone: how its inertia falls with k, and which k was chosen for how many images."
        return section("k", "How many clusters", about, f'<div class="panel">{figure}</div>')
    known = all(row.mse is not None for row in found.rows)
    ys = [row.mse if known and row.mse is not None else row.inertia for row in found.rows]
    xs = [float(row.k) for row in found.rows]
    mark = None
    for row, y in zip(found.rows, ys, strict=True):
        if row.k == found.chosen:
            mark = charts.Mark(row.k, y, f"k = {row.k}")
    what = "mean squared error" if known else "inertia"
    said = f"{what.capitalize()} for k from {found.rows[0].k} to {found.rows[-1].k}"
    said += f"; k = {found.chosen} is chosen" if mark else ""
    chart = charts.line_chart([charts.Line("", xs, ys, strong=True)], "k, number of clusters", what, said, mark)
    head = [(text, True) for text in ("k", "Inertia", "Mse", "Silhouette", "Calinski-Harabasz")]
    rows = [
        [f"{row.k}", f"{row.inertia:.6g}", _or_dash(row.mse), _or_dash(row.silhouette), _or_dash(row.calinski_harabasz)]
        for row in found.rows
    ]
    opened = " open" if len(rows) <= FEW_ROWS else ""
    numbers = f"<details{opened}><summary>The numbers</summary>{table(head, rows, 'One row a k')}</details>"
    several = ""
    if painted is not None:
        tiles = [picture(painted.original, f"{painted.name}, original", "original")] if painted.original else []
        tiles += [
            picture(
                file, f"{painted.name} painted with {k} colours", f"k = {k}{', chosen' if k == found.chosen else ''}"
            )
            for k, file in painted.pictures
        ]
        several = f'<h3 style="margin-top:1.5rem">{plain(painted.name)} with several k</h3>'
        several += f'<div class="several">{"".join(tiles)}</div>'
    about = "More clusters always fit better; where the curve bends, more of them gain little."
    about += f" Chosen: k = {found.chosen}, {plain(found.why)}." if mark and found.why else ""
    return section(
        "k", "How many clusters", about, f'<div class="panel"><div class="two">{chart}{numbers}</div>{several}</div>'
    )


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def history(report: Report) -> str:
    """Inertia by step for every attempt."""
    if report.history is None:
        return ""
    batch, steps = report.history
    panels = []
    for title, attempts in (("On the first mini-batch", batch), ("On all data, exact steps", steps)):
        least = min((value for inertia in attempts for value in inertia), default=0.0)
        best = min((a for a, inertia in enumerate(attempts) if inertia), key=lambda a: attempts[a][-1], default=-1)
        lines = [
            charts.Line(
                str(a), range(len(inertia)), [100 * (v / least - 1) if least else 0.0 for v in inertia], a == best
            )
            for a, inertia in enumerate(attempts)
            if inertia
        ]
        said = f"{title}: inertia by step of {len(lines)} attempts"
        chart = charts.line_chart(lines, "step", "inertia, % above the lowest", said)
        panels.append(f"<div><h3>{title}</h3>{chart}</div>")
    head = [("Attempt", True), ("Steps on the batch", True), ("Last inertia", True)]
    head += [("Steps on all data", True), ("Last inertia", True)]
    rows = []
    for a, (first, exact) in enumerate(zip(batch, steps, strict=True)):
        ends = [f"{inertia[-1]:.6g}" if inertia else "–" for inertia in (first, exact)]
        rows.append([str(a), str(len(first)), ends[0], str(len(exact)), ends[1]])
    numbers = f"<details><summary>The numbers</summary>{table(head, rows, 'One row an attempt')}</details>"
    about = "Each line is one attempt, from its first centroids on. Attempts that promise less are not taken further."
    return section(
        "fit", "The fit", about, f'<div class="panel"><div class="two">{"".join(panels)}</div>{numbers}</div>'
    )


def space(report: Report) -> str:
    """The colours as points in space."""
    cloud = report.cloud
    if cloud is None:
        return ""
    own = '<label><input type="radio" name="paint" value="own"> its own colour</label>'
    choice = (
        '<fieldset class="choice"><legend>A point has</legend>'
        f'<label><input type="radio" name="paint" value="cluster" checked> its cluster’s colour</label>{own}</fieldset>'
    )
    buttons = ""
    if cloud.numbered:
        shares = [cluster.share for cluster in report.clusters]
        order = sorted(range(len(shares)), key=lambda j: (-shares[j], j))[:24]
        buttons = "".join(
            f'<button type="button" aria-pressed="false" data-cluster="{j}">{swatch(report.clusters[j].color, j)}'
            f"{percent(shares[j])}</button>"
            for j in sorted(order)
        )
        buttons += "<p>Choose clusters to see them alone.</p>"
    names = ", ".join(dict.fromkeys(cloud.axes))
    said = f"{len(cloud.points):,} pixels as points in the space of {names}. Arrow keys turn it, plus and minus zoom."
    canvas = f'<canvas id="cloud" tabindex="0" role="img" aria-label="{plain(said)}"></canvas>'
    about = f"{len(cloud.points):,} pixels, taken evenly from the pictures shown, as points of {plain(names)}. "
    about += "Drag to turn; with the keyboard: arrows turn, + and − zoom, 0 goes back."
    content = f'<div class="panel space"><div>{canvas}</div><div class="legend">{choice}{buttons}</div></div>'
    return section("colours", "Colours in space", about, content)
