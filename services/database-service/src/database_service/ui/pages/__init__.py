"""One module for each part of the hub. A function is a page, or a form's answer."""
