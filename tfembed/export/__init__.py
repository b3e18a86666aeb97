"""Export for TF Serving: versions of a model, each checked before it is published."""

from tfembed.export.exporting import export
from tfembed.export.gate import ExportError
from tfembed.export.module import export_module
from tfembed.export.versions import Version, rollback, versions

__all__ = ["ExportError", "Version", "export", "export_module", "rollback", "versions"]
