def unigram_pieces(*a):
    raise NotImplementedError
