"""Operations that several models share: precision, what is kept for the backward pass, statistics over processes."""
