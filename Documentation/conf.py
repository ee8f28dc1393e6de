# SPDX-License-Identifier: GPL-2.0-only
"""Sphinx; see build in this folder."""

project = "ipsec_v3"
author = "The ipsec_v3 developers"
copyright = author
root_doc = "networking/ipsec_v3/index"
html_theme = "alabaster"
html_theme_options = {"page_width": "1100px"}
html_show_sphinx = False
html_copy_source = False
primary_domain = "c"
# the kernel's and the compiler's words in declarations
c_id_attributes = ["__percpu", "__aligned"]
