"""Right tokens at the full price: the whole sequence passes through the model for every new one."""

import torch


def generate(embed, project, finish, score, n_layers, prompt, n_new, chunk):
    tokens, logits = [], []
    while len(tokens) < n_new:
        sequence = prompt + tokens
        x_TD = embed(sequence)
        for layer in range(n_layers):
            q_HTK, k_GTK, v_GTK = project(layer, x_TD, 0)
            x_TD = finish(layer, x_TD, attend(q_HTK, k_GTK, v_GTK))
        logits.append(score(x_TD[-1:])[0])
        tokens.append(int(logits[-1].argmax()))
    return tokens, torch.stack(logits)


def attend(q_HTK, k_GTK, v_GTK):
    (H, T, K), G = q_HTK.shape, k_GTK.shape[0]
    k_HTK, v_HTK = (x.repeat_interleave(H // G, dim=0) for x in (k_GTK, v_GTK))
    scores_HTT = q_HTK @ k_HTK.mT * K**-0.5
    ahead_TT = torch.ones(T, T, dtype=torch.bool).triu(1)
    return (scores_HTT.masked_fill(ahead_TT, float("-inf")).softmax(-1) @ v_HTK).transpose(0, 1)
