"""What a request's parameters or JSON body lack, in words for who writes the client."""

TIME = "must be a UTC time such as 2026-11-24T09:30:00Z, or the beginning of one"
# By the name of the field: a regular expression is no help
PATTERNS = {
    "since": TIME,
    "until": TIME,
    "sha256": "must be 64 digits, from 0 to 9 and from a to f",
}
# By the kind of error in Pydantic's words; in braces is what it knows of the rule
WORDS = {
    "missing": "is missing",
    "extra_forbidden": "there is no such field",
    "greater_than_equal": "must be at least {ge:,}",
    "less_than_equal": "must be at most {le:,}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must not be empty",
    "literal_error": "must be {expected}",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_parsing_size": "must be a number of fewer digits",
    "int_type": "must be a whole number",
    "bool_parsing": "must be true or false",
    "string_type": "must be a text",
    "model_attributes_type": "must be a JSON object, of Content-Type application/json",
    "value_error": "{error}",
}


def in_words(problem: dict) -> str:
    """One error of Pydantic: 'query.since: must be a UTC time such as ...'."""
    kind, place, known = problem["type"], problem["loc"], problem.get("ctx", {})
    if kind == "json_invalid":
        return f"the body is no JSON: {known['error']}, at character {place[-1]}"
    if kind == "string_pattern_mismatch":
        text = PATTERNS[place[-1]]
    else:
        text = WORDS[kind].format(**known) if kind in WORDS else problem["msg"]
    return f"{'.'.join(map(str, place))}: {text}"
