"""Those who serve models: a class for each kind of upstream, behind the Protocol of base.py.

`openai` and `cloudflare` say what is sent and how answers are read; `exchange` does what they
share, over `http`. `demo` plays.
"""
