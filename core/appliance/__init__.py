"""A highly available firewall appliance, assembled from plugins.

Importing this package costs nothing: everything else is imported where it is needed.
"""

from appliance._version import __version__ as __version__
