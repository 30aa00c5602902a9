"""The API as programs written for the original use it: real processes, real packages, nothing of either changed."""
