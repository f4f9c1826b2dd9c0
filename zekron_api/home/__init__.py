"""The start page, and the picture that its visitors may watch being made."""
