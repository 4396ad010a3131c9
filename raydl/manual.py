"""What ``raydl run --help`` prints: every option of the classes that are chosen."""

import textwrap
from collections.abc import Sequence

from raydl.choices import CHOICES, OPTIONAL, allowed, name_of
from raydl.options import chosen_groups, parser_for, take_names, to_mapping
from raydl.spec import Run


def help_text(argv: Sequence[str]) -> str:
    """The help for the classes that the options choose."""
    named, _ = take_names(argv)
    groups, _ = chosen_groups({}, named)
    default = to_mapping(Run())
    choices = ""
    for field in CHOICES:
        if "." in field and field not in groups:
            continue
        if "." in field:
            usual = name_of(field, groups[field][0])
        else:
            usual = default[field]["name"] if default[field] else OPTIONAL[field]
        listed = textwrap.fill(
            f"{', '.join(allowed(field))}. Default: {usual}",
            width=78,
            initial_indent=f"  {f'--{field}':<17} ",
            subsequent_indent=" " * 20,
        )
        choices += f"{listed}\n"
    parser = parser_for(groups)
    for field, (cls, _) in groups.items():
        if field in parser.groups:
            parser.groups[field].title = f"--{field} {name_of(field, cls)}. {_summary(cls)}"
    parser.groups["checkpoint"].title = "Checkpoints"
    parser.groups["evaluation"].title = "Evaluation"
    return _HELP.format(choices=choices) + parser.format_help().partition("exit.\n")[2]


_HELP = """\
usage: raydl run [OPTION ...]

Trains a model by a distributed or federated algorithm. Every option has a
default; without any, 100 clients learn scikit-learn's digits by FedAvg.

  --config FILE     reads options from YAML; a run's own run.yaml repeats it.
  --resume RUN      goes on with an interrupted run, given by its folder or by
                    its name in --storage.

These choose a class, whose own options are dotted and stand further below:
`raydl run --data CIFAR100 --help` shows those of CIFAR100.

{choices}"""


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").partition("\n")[0].rstrip(".")
