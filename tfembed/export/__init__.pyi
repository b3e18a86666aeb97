from .exporting import export as export
from .gate import ExportError as ExportError
from .module import export_module as export_module
from .versions import Version as Version
from .versions import rollback as rollback
from .versions import versions as versions
