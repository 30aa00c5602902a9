"""Forms of the pages. Their fields are generated from the catalogue; the catalogue and the domain validate the values."""
