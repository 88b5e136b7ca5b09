"""What a trial learns: the loop asks a task for targets, loss and figures and knows none."""

from slrtune.training.tasks.recognition import Recognition
from slrtune.training.tasks.task import Judge, Task
from slrtune.training.tasks.translation import Translation, Writing

__all__ = ["Judge", "Recognition", "Task", "Translation", "Writing"]
