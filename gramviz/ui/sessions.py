"""What Gradio keeps of every session, made small.

For each newcomer Gradio asks every component of the page to describe itself, which costs tens of milliseconds of the
one thread that all requests go through, and keeps the answers. Here nothing on the page is changed by a session: the
answers are the same for everyone and are found out once.
"""

import gradio as gr

# Sessions that are remembered, some 150 kB each; the one not heard of for longest is forgotten first. Should it be
# heard of again it is made anew, and nothing is lost: what belongs to a visitor lies in the engine.
MOST = 256


def share_descriptions(page: gr.Blocks) -> None:
    """Let all sessions share what the components of a finished page say of themselves.

    A session gets a copy of its own of each description, in which Gradio notes the component's present value.
    """
    for block in page.blocks.values():
        block.get_config = dict(block.get_config()).copy
