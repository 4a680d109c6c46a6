"""Values as users write them. No pandas here: watch starts fast."""

QUOTES = "'\""


def normalized(text: str) -> str:
    """Return a text with its numbers in one notation, without spaces and quotes between brackets."""
    if text[:1] in ("[", "(") and text[-1:] in ("]", ")"):
        return f"[{','.join(normalized(part.strip().strip(QUOTES)) for part in text[1:-1].split(','))}]"
    try:
        return repr(float(text))
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text
