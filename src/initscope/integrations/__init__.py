"""Floor 7: checks inside other programs: a pytest plug-in, callbacks for Lightning and the transformers Trainer."""
