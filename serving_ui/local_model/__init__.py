"""A language model on this machine, for `manage.py up --local-model`: llama.cpp's own server, with the weights of a package."""
