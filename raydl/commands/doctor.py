"""``raydl doctor``: what a run would miss, in words."""

from collections.abc import Iterable

from raydl import doctor
from raydl.commands import asks_for_help
from raydl.doctor import Finding


def main(argv: list[str]) -> int:
    """Prints what is found; 1 if there is a fault."""
    if asks_for_help(argv):
        print(
            "raydl doctor [OPTION ...]\n\nExamines whether a run with these options finds what "
            "it needs.\nThey are those of raydl run; --runtime, --storage and --data matter. Exits "
            "with 1\nif something is wrong."
        )
        return 0
    if not _told(doctor.installation()):
        return 1
    from raydl.commands.arguments import described  # what it imports may have been missing

    return 0 if _told(doctor.examine(described(argv)[0])) else 1


def _told(findings: Iterable[Finding]) -> bool:
    """Prints the findings as they come, and says whether there was no fault."""
    sound = True
    for subject, state, text in findings:
        print(f"{subject:<12}  {state:<5}  {text}")
        sound &= state != "fault"
    return sound
