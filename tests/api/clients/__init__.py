"""Unchanged client packages (Databricks SDK, MLflow, OpenAI, LangChain) against a running product."""
