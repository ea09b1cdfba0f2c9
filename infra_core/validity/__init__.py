"""Whether scores are true: what retraining says of them, what they find again, and what rivals do as well."""
