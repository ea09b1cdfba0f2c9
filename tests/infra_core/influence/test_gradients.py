"""Gradients of single sequences: whichever side is rotated when."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from infra_core.influence.gradients import sequence_gradients


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(0, 99),
)
@settings(max_examples=50, deadline=None)
def test_every_order_of_rotating_gives_the_same_gradients(lengths, d_in, d_out, seed):
    random = torch.Generator().manual_seed(seed)
    a, g, q_a, q_g = (
        torch.randn(shape, generator=random, dtype=torch.float64)
        for shape in ((sum(lengths), d_in), (sum(lengths), d_out), (d_in, d_in), (d_out, d_out))
    )
    expected = {
        row: (g_b @ q_g).T @ (a_b @ q_a)
        for row, (a_b, g_b) in enumerate(zip(a.split(lengths), g.split(lengths), strict=True))
        if len(a_b)
    }
    for given_a, left_a in ((a, q_a), (a @ q_a, None)):
        for given_g, left_g in ((g, q_g), (g @ q_g, None)):
            found = sequence_gradients(given_a, given_g, lengths, q_a=left_a, q_g=left_g)
            found = {row: gradient.clone() for row, gradient in found}
            assert found.keys() == expected.keys()
            for row, gradient in expected.items():
                torch.testing.assert_close(found[row], gradient, rtol=1e-9, atol=1e-9)
