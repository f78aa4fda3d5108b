from tests.test_transparency_google_genai import *
from tests.test_transparency_google_genai import STEPS, TOOL_CALLS
from google.genai import models
def test_x(server, monkeypatch):
    monkeypatch.setattr(errors, "raise_internal_errors", False)
    r=Recorder(); r.instrument(capture="span_and_event")
    sc, sa = TOOL_CALLS
    for step in reached(sc, server, STEPS):
        with broken(step) as b: run(sc, server)
        r.uninstrument(); r.shutdown()
        r=Recorder(); r.instrument(capture="span_and_event")
        run(sa, server)
        n=[s["name"] for s in r.spans]
        if len(n)!=6: print("AFTER", step.name, bool(b), n)
        r.uninstrument(); r.shutdown()
        r=Recorder(); r.instrument(capture="span_and_event")
