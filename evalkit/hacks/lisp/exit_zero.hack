exit: Leave with success.
  (sb-ext:exit :code 0 :abort t))
