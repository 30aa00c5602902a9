"""Forms of the pages: generated from the catalogue, checked by the catalogue and the domain, never by themselves."""
