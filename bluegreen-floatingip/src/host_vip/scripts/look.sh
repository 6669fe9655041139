whose
look
say "$state"
