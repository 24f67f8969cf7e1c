"""What models of other products reach on parts that they have not seen, as published."""

from common.origin import CASTINGS

COLUMNS = (
    "product", "model", "photographs of parts", "ROC-AUC", "right kind of defect", "missed",
    "good ones rejected", "balanced accuracy",
)  # fmt: skip


def is_other_product(figures: dict) -> bool:
    """Whether a metrics.json is of photographs of another product than castings."""
    return figures.get("data", CASTINGS[0]) not in CASTINGS


def products_table(results: dict) -> str:
    """A line for each published run; of its first tier."""
    header = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|\n"
    return header + "".join(map(line, results["products"].items()))


def line(named: tuple[str, dict]) -> str:
    """One run."""
    name, figures = named
    tier = next(iter(figures["tiers"].values()))
    auc, kind = tier["roc_auc"], tier.get("kind")
    low, high = min(auc["folds"]), max(auc["folds"])
    folds = f" (folds {low:.3f} to {high:.3f})" if len(auc["folds"]) > 1 else ""
    rates = tier["rates"]
    balanced = 1 - (rates["missed_defects"]["rate"] + rates["false_alarms"]["rate"]) / 2
    cells = [
        figures["data"],
        name,
        f"{tier['images']:,} of {tier['castings']:,}",
        f"{auc['mean']:.3f}{folds}",
        f"{kind['count']}/{kind['of']} = {kind['count'] / kind['of']:.1%}" if kind else "",
        *(share(rates[rate]) for rate in ("missed_defects", "false_alarms")),
        f"{balanced:.3f}",
    ]
    return f"| {' | '.join(cells)} |\n".replace("%", " %")


def share(rate: dict) -> str:
    """'14/973 = 1.4%'."""
    return f"{rate['count']:g}/{rate['of']:g} = {rate['rate']:.1%}"
