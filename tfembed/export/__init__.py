"""Export for TF Serving: versions of a model, each checked before it is published."""

from tfembed.export.exporting import export
from tfembed.export.gate import ExportError
from tfembed.export.versions import Version, rollback, versions

__all__ = ["ExportError", "Version", "export", "rollback", "versions"]
