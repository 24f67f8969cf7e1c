"""The clock that the page shows times on."""

import argparse

import streamlit as st

from traceability.clock import Clock, clock_of, time_zone


def plant_clock() -> Clock:
    """The clock of app.py's options; without a zone there, that of the browser."""
    options = st.session_state["options"]
    try:
        zone = options.time_zone or time_zone(st.context.timezone or "UTC")
    except argparse.ArgumentTypeError:  # a browser knows more zones than this machine
        zone = None
    return clock_of(zone, options.shifts)
