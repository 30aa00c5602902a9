"""The operations of the API, one function each; `serving_ui.api.http.route` gives them an address."""
