"""Functions that turn model instances into what templates show. They read no request and change nothing."""
