"""Millions of documents, labelled in the shell, in Ray Data and in Spark; workers are killed."""
